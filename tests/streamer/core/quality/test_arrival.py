"""Repeated, late and blank frames."""

from __future__ import annotations

import numpy as np
import pytest

from operando.streamer.core.frames import Frame, FrameKey, Role
from operando.streamer.core.quality import ArrivalState, QualitySettings, check_arrival

SHAPE = (96, 128)


def light(seed: int, *, counts: float = 2000.0, dark: float = 100.0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    shape = np.exp(-((y - 40) ** 2 + (x - 70) ** 2) / 100**2)
    return (rng.poisson(counts * shape) + dark + rng.normal(0, 3, SHAPE)).astype(np.float32)


def frame(image, seq_num: int, *, index: int = 0, stream: str = "primary") -> Frame:
    key = FrameKey(run="r", stream=stream, data_key="cam", seq_num=seq_num, index=index)
    return Frame(key=key, role=Role.SAMPLE, energy=8333.0, exposure=0.5, time=0.0, image=image)


def reasons(frames, settings=None):
    state, out = ArrivalState(), []
    for item in frames:
        state, verdict = check_arrival(state, item, settings or QualitySettings())
        out.append(verdict.reason)
    return out


def test_good_frames_of_any_brightness_pass():
    levels = (2000, 500, 200, 3000)
    assert reasons(frame(light(i, counts=c), i + 1) for i, c in enumerate(levels)) == [""] * 4


def test_the_same_pixels_under_a_new_number_are_a_duplicate():
    images = [light(0), light(1), light(1), light(2)]
    assert reasons(frame(m, i + 1) for i, m in enumerate(images)) == ["", "", "duplicate", ""]


def test_a_number_that_comes_again_is_a_duplicate_and_a_lower_one_is_late():
    numbers = [1, 2, 2, 4, 3, 5]
    told = reasons(frame(light(i), n) for i, n in enumerate(numbers))
    assert told == ["", "", "duplicate", "", "out_of_order", ""]


def test_images_of_one_chunk_and_other_streams_have_an_order_of_their_own():
    frames = [
        frame(light(0), 1, index=0),
        frame(light(1), 1, index=1),
        frame(light(2), 1, stream="again"),
        frame(light(3), 2),
    ]
    assert reasons(frames) == [""] * 4


@pytest.mark.parametrize("dark", [0.0, 100.0])
def test_a_frame_without_light_is_blank_also_as_the_first(dark):
    images = [light(0, counts=0, dark=dark), light(1), light(2, counts=0, dark=dark), light(3)]
    assert reasons(frame(m, i + 1) for i, m in enumerate(images)) == ["blank", "", "blank", ""]


def test_a_constant_image_is_blank_and_hot_pixels_are_no_light():
    hot = np.full(SHAPE, 7.0, np.float32)
    hot[::17, ::23] = 5e4
    assert reasons([frame(np.full(SHAPE, 7.0, np.float32), 1), frame(hot, 2)]) == ["blank"] * 2


def test_checks_can_be_switched_off():
    settings = QualitySettings(duplicates=False, out_of_order=False)
    frames = [frame(light(0), 2), frame(light(0), 2), frame(light(0), 1)]
    assert reasons(frames, settings) == ["", "", ""]


def test_the_message_tells_what_was_seen():
    state, _ = check_arrival(ArrivalState(), frame(light(0), 4), QualitySettings())
    _, verdict = check_arrival(state, frame(light(1), 3), QualitySettings())
    assert "event 3" in verdict.message
    assert "event 4" in verdict.message
