"""Pixels of one event -> frames."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from operando.streamer.core.assemble import frames_from_chunk, shape_mismatch
from operando.streamer.core.frames import FrameKey, FrameRef, Role
from operando.streamer.errors import FrameError

REF = FrameRef(
    key=FrameKey(run="r", stream="primary", data_key="cam", seq_num=7),
    role=Role.SAMPLE,
    energy=8333.0,
    exposure=0.1,
    time=5.0,
    declared=(64, 64),
)


def noisy(n, sigma, shape=(256, 256), *, seed=1):
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[: shape[0], : shape[1]]
    scene = 1000 + 500 * np.sin(x / 9) * np.cos(y / 7)
    return scene + rng.normal(0, sigma, (n, *shape))


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int32, np.float32, ">u2", bool])
def test_one_image_is_kept_as_it_is(dtype):
    image = np.arange(64 * 64).reshape(64, 64).astype(dtype)
    image.setflags(write=False)
    (frame,) = frames_from_chunk(REF, image)
    np.testing.assert_array_equal(frame.image, image.astype(np.float32))
    assert frame.image.dtype == np.float32
    assert frame.image.flags.writeable
    assert (frame.n_averaged, frame.noise) == (1, None)
    assert (frame.key, frame.role, frame.energy, frame.exposure, frame.time) == (
        REF.key,
        REF.role,
        REF.energy,
        REF.exposure,
        REF.time,
    )


@pytest.mark.parametrize("lead", [(), (1,)])
def test_the_mean_is_exact_for_large_counts(lead):
    chunk = np.array([65535, 65533, 65534], np.uint16)[:, None, None] * np.ones((8, 9), np.uint16)
    (frame,) = frames_from_chunk(REF, chunk.reshape(*lead, 3, 8, 9))
    assert (frame.image == 65534).all()
    assert frame.n_averaged == 3


@pytest.mark.parametrize("sigma", [3.0, 30.0])
@pytest.mark.parametrize("n", [2, 3, 10])
def test_the_noise_is_that_of_the_mean(n, sigma):
    (frame,) = frames_from_chunk(REF, noisy(n, sigma))
    assert frame.noise == pytest.approx(sigma / np.sqrt(n), rel=0.05)


def test_the_noise_stands_flicker_hot_pixels_integers_and_uneven_light():
    rng = np.random.default_rng(3)
    light = np.tile(np.linspace(20, 2000, 256), (256, 1))
    chunk = rng.poisson(light, (10, 256, 256)).astype(np.float64)
    chunk *= rng.uniform(0.98, 1.02, (10, 1, 1))
    chunk[:, rng.integers(0, 256, 50), rng.integers(0, 256, 50)] = rng.uniform(0, 6e4, (10, 50))
    (frame,) = frames_from_chunk(REF, chunk.astype(np.uint16))
    assert frame.noise == pytest.approx(np.sqrt(light.mean() / 10), rel=0.1)


def test_the_noise_stands_nans_and_small_images():
    chunk = noisy(5, 10.0, (64, 64))
    chunk[2, :10] = np.nan
    assert frames_from_chunk(REF, chunk)[0].noise == pytest.approx(10 / np.sqrt(5), rel=0.1)
    chunk[:, 0:8, 0:8] = np.nan
    assert frames_from_chunk(REF, chunk)[0].noise == pytest.approx(10 / np.sqrt(5), rel=0.1)
    assert frames_from_chunk(REF, noisy(9, 10.0, (5, 3)))[0].noise == pytest.approx(3.3, rel=0.5)


def test_equal_exposures_have_no_noise():
    (frame,) = frames_from_chunk(REF, np.ones((4, 16, 16), np.uint16))
    assert frame.noise == 0.0


def test_split_gives_every_image_its_index():
    chunk = np.arange(3)[:, None, None] * np.ones((3, 16, 16))
    frames = frames_from_chunk(replace(REF, chunk="split"), chunk)
    assert [f.key.index for f in frames] == [0, 1, 2]
    assert [float(f.image[0, 0]) for f in frames] == [0, 1, 2]
    assert {f.key.seq_num for f in frames} == {7}


def test_an_exposure_that_is_all_nan_is_left_out():
    chunk = np.ones((3, 16, 16))
    chunk[1] = np.nan
    (frame,) = frames_from_chunk(REF, chunk)
    assert frame.n_averaged == 2
    assert (frame.image == 1).all()


def test_of_frames_kept_apart_none_goes_missing():
    chunk = np.ones((3, 16, 16))
    chunk[1] = np.nan
    frames = frames_from_chunk(replace(REF, chunk="split"), chunk)
    assert [f.key.index for f in frames] == [0, 1, 2]
    assert np.isnan(frames[1].image).all()


@pytest.mark.parametrize(
    ("pixels", "word"),
    [
        (np.zeros(5), "(5,)"),
        (np.zeros((2, 3, 4, 5)), "(2, 3, 4, 5)"),
        (np.full((4, 4), np.nan), "NaN"),
        (np.full((2, 4, 4), np.nan), "NaN"),
        (np.zeros((0, 4)), "hold nothing"),
        (np.zeros((0, 4, 4)), "hold nothing"),
        (np.zeros((4, 4), object), "dtype object"),
        (np.zeros((4, 4), "U3"), "dtype <U3"),
        (np.float64(3.0), "()"),
    ],
)
def test_unusable_pixels_raise_and_name_the_event(pixels, word):
    with pytest.raises(FrameError, match="event 7 of stream 'primary'") as caught:
        frames_from_chunk(REF, np.asarray(pixels))
    assert word in str(caught.value)


def test_a_shape_other_than_declared_is_told():
    assert shape_mismatch(REF, np.zeros((3, 64, 64))) is None
    assert "(64, 64)" in (shape_mismatch(REF, np.zeros((3, 32, 64))) or "")
    assert shape_mismatch(replace(REF, declared=None), np.zeros((3, 32, 64))) is None
