"""Images for pages."""

from __future__ import annotations

import threading
import time

import httpx
import numpy as np
import pytest

from operando.streamer.service.dashboard.pictures import PictureStore, picture_of, step_for

WHERE = ("run", "frames", "aligned", 3)


def test_values_are_stretched_and_the_unknown_is_zero():
    image = np.linspace(-1, 3, 10_000, dtype=np.float32).reshape(100, 100)
    image[:5] = np.nan
    picture = picture_of(image)
    assert (picture.data[:5] == 0).all()
    assert picture.data[5:].min() == 1
    assert picture.data.max() == 255
    values = picture.low + (picture.data[40:60].astype(float) - 1) / 254
    values = picture.low + (values - picture.low) * (picture.high - picture.low)
    assert np.abs(values - image[40:60]).max() <= 1.01 * (picture.high - picture.low) / 254


def test_an_image_of_nothing_is_all_zero():
    assert not picture_of(np.full((4, 5), np.nan, np.float32)).data.any()


@pytest.mark.parametrize(("shape", "step"), [((460, 460), 1), ((2048, 2048), 3), ((768, 10), 1)])
def test_large_images_are_thinned_out(shape, step):
    assert step_for(shape, 768) == step


def test_several_viewers_cost_one_request():
    asked = []

    def read(where, shape, step):
        asked.append(where)
        time.sleep(0.1)
        return np.ones(shape, np.float32)

    store = PictureStore(read)
    threads = [threading.Thread(target=store.get, args=(WHERE, (8, 9))) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert store.get(WHERE, (8, 9)).data.shape == (8, 9)
    assert asked == [WHERE]


def test_memory_is_bounded_and_the_oldest_go_first():
    asked = []

    def read(where, shape, step):
        asked.append(where[3])
        return np.ones(shape, np.float32)

    store = PictureStore(read, most_bytes=3000)
    for row in (0, 1, 2, 0, 3, 0, 1):
        store.get(("run", "frames", "aligned", row), (10, 100))
    assert asked == [0, 1, 2, 3, 1]


def test_an_image_that_is_announced_but_not_there_yet_is_asked_for_again():
    tries = []

    def read(where, shape, step):
        tries.append(where)
        if len(tries) < 3:
            raise httpx.HTTPStatusError("404", request=None, response=httpx.Response(404))
        return np.ones(shape, np.float32)

    assert PictureStore(read).get(WHERE, (4, 4)).data.any()
    assert len(tries) == 3


def test_one_that_never_comes_is_an_error():
    def read(where, shape, step):
        raise httpx.ConnectError("away")

    with pytest.raises(httpx.ConnectError):
        PictureStore(read).get(WHERE, (4, 4))
