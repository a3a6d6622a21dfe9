"""Detection in a thread of its own finds what it finds in line, and fails as loudly."""

from __future__ import annotations

import threading

import numpy as np
import pytest
import torch

from operando.callbacks.processor.detection import (
    Backlog,
    Detection,
    DetectionPrefetch,
    QueuedFrame,
)
from operando.callbacks.processor.log import OncePerKindLogger
from operando.models.detector import make_detector
from operando.models.settings import DetectSettings
from operando.models.threshold.detector import ThresholdDetector
from operando.streamer.core.frames import FrameKey, OpticalDensityFrame
from operando.streamer.core.pipeline import search

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
    prefetch = DetectionPrefetch(detector, CPU)
    started = [(one, prefetch.start(one)) for one in (frame(n, 18 + 4 * n) for n in range(4))]
    for one, future in reversed(started):
        found = future.result()
        od, valid = torch.from_numpy(one.od)[None, None], torch.from_numpy(one.valid)[None, None]
        (alone,) = detector.detect(od, valid)
        assert np.array_equal(found.labels, alone.labels)
        assert len(found) == 1
        assert found.yx[0] == pytest.approx((70 + one.frame, 80), abs=0.3)
    prefetch.close()


def test_a_fault_of_the_detector_reaches_who_asks_and_no_other_frame(detector):
    class Faulty:
        name = "faulty"

        def detect(self, od, valid):
            if float(od.max()) > 5:
                raise RuntimeError("out of memory")
            return detector.detect(od, valid)

    prefetch = DetectionPrefetch(Faulty(), CPU)
    good, bad = frame(0, 20), frame(1, 20)
    bad.od[0, 0] = 10.0
    failed, found = prefetch.start(bad), prefetch.start(good)
    with pytest.raises(RuntimeError, match="out of memory"):
        failed.result()
    assert len(found.result()) == 1
    prefetch.close()


def test_close_ends_the_thread_and_drops_what_waits(detector):
    prefetch = DetectionPrefetch(detector, CPU)
    for number in range(20):
        prefetch.start(frame(number, 20))
    prefetch.close()
    assert not [t for t in threading.enumerate() if t.name.startswith("detect-ahead")]
    assert prefetch.start(frame(20, 20)) is None


def detected(detection, frames):
    """How many particles are found in each of some frames that are queued together."""
    queue = [QueuedFrame("r", one, 0, detection.prefetch(one)) for one in frames]
    state, known = search.init(detection.modes), {"r": None}
    _, found = detection.detect(state, queue, known, Backlog())
    return [len(one.detections) for one in found]


def test_a_fault_in_advance_is_tried_again_alone(detector, monkeypatch, caplog):
    detect, calls = ThresholdDetector.detect, []

    def fail_once(self, od, valid):
        calls.append(threading.current_thread().name)
        if len(calls) == 2:
            raise RuntimeError("out of memory")
        return detect(self, od, valid)

    monkeypatch.setattr(ThresholdDetector, "detect", fail_once)
    detection = Detection(DetectSettings(), CPU, lambda: 0.0, OncePerKindLogger())
    assert detected(detection, [frame(n, 20) for n in range(3)]) == [1, 1, 1]
    assert len(calls) == 4
    assert "failed on frame 1, in advance" in caplog.text
    detection.close()


def test_after_the_end_frames_are_detected_in_line(detector):
    """As when a processor is closed, and then gets another run after all."""
    detection = Detection(DetectSettings(), CPU, lambda: 0.0, OncePerKindLogger())
    detection.close()
    assert detected(detection, [frame(n, 20) for n in range(3)]) == [1, 1, 1]
