"""Detection in a thread of its own finds what it finds in line, and fails as loudly."""

from __future__ import annotations

import threading

import numpy as np
import pytest
import torch

from operando.callbacks.processor.detection import Detection, DetectionPrefetch
from operando.models.detector import make_detector
from operando.models.settings import DetectSettings
from operando.streamer.core.frames import FrameKey, OpticalDensityFrame

CPU = torch.device("cpu")


def frame(number, radius):
    y, x = np.indices((160, 160), dtype=np.float32)
    noise = np.random.default_rng(number).normal(0, 0.02, (160, 160))
    disc = np.hypot(y - 70 - number, x - 80) < radius
    return OpticalDensityFrame(
        key=FrameKey(run="r", stream="primary", data_key="image", seq_num=number + 1),
        frame=number,
        energy=8400.0,
        time=0.0,
        od=(disc + noise).astype(np.float32),
        valid=np.ones((160, 160), bool),
        sigma=0.02,
        revision=0,
        provisional=False,
        final=True,
    )


@pytest.fixture
def detector():
    return make_detector(DetectSettings(), CPU)


def test_each_frame_gets_its_own_detections_in_any_order_of_asking(detector):
    ahead = DetectionPrefetch(detector, CPU)
    frames = [frame(n, 18 + 4 * n) for n in range(4)]
    for one in frames:
        ahead.start(one)
    for one in reversed(frames):
        found = ahead.take(one)
        od, valid = torch.from_numpy(one.od)[None, None], torch.from_numpy(one.valid)[None, None]
        (alone,) = detector.detect(od, valid)
        assert np.array_equal(found.labels, alone.labels)
        assert len(found) == 1
        assert found.yx[0] == pytest.approx((70 + one.frame, 80), abs=0.3)
    ahead.close()


def test_what_was_not_started_or_was_taken_already_is_nothing(detector):
    ahead = DetectionPrefetch(detector, CPU)
    one, other = frame(0, 20), frame(1, 20)
    ahead.start(one)
    assert ahead.take(other) is None
    assert ahead.take(one) is not None
    assert ahead.take(one) is None
    ahead.close()


def test_a_fault_of_the_detector_reaches_who_asks_and_no_other_frame(detector):
    class Faulty:
        name = "faulty"

        def detect(self, od, valid):
            if float(od.max()) > 5:
                raise RuntimeError("out of memory")
            return detector.detect(od, valid)

    ahead = DetectionPrefetch(Faulty(), CPU)
    good, bad = frame(0, 20), frame(1, 20)
    bad.od[0, 0] = 10.0
    ahead.start(bad)
    ahead.start(good)
    with pytest.raises(RuntimeError, match="out of memory"):
        ahead.take(bad)
    assert len(ahead.take(good)) == 1
    ahead.close()


def test_what_is_forgotten_is_never_taken_for_another_frame(detector):
    """A frame may get the identity of one that is gone; found in it is nothing of the other."""
    ahead = DetectionPrefetch(detector, CPU)
    ahead.start(gone := frame(0, 20))
    number = id(gone)
    del gone
    others = [frame(n, 30) for n in range(1, 6)]
    assert all(id(one) != number or ahead.take(one) is None for one in others)
    ahead.start(gone := frame(6, 20))
    ahead.forget()
    assert ahead.take(gone) is None
    ahead.close()


def test_a_flush_that_breaks_off_leaves_nothing_behind(detector):
    detection = Detection(DetectSettings(), CPU, lambda _: None, lambda: 0.0)
    queue = [(None, frame(n, 20)) for n in range(3)]
    for _, one in queue:
        detection.expect(one)
    each = detection.each(queue)
    next(each)
    each.close()
    assert [detection._ahead.take(one) for _, one in queue] == [None] * 3
    detection.close()


def test_close_ends_the_thread_and_drops_what_waits(detector):
    ahead = DetectionPrefetch(detector, CPU)
    for number in range(20):
        ahead.start(frame(number, 20))
    ahead.close()
    assert not [t for t in threading.enumerate() if t.name.startswith("detect-ahead")]


def test_after_the_end_frames_are_looked_at_in_line(detector):
    """As when a processor is closed, and then gets another run after all."""
    detection = Detection(DetectSettings(), CPU, lambda _: None, lambda: 0.0)
    detection.close()
    queue = [(None, frame(n, 20)) for n in range(3)]
    for _, one in queue:
        detection.expect(one)
    assert [len(found) for _, _, found in detection.each(queue)] == [1, 1, 1]
