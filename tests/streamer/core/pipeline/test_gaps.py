"""Fill frames in which a particle was not detected: what is found there, and what is not."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from operando.models.rim import RimStacks
from operando.streamer.core.frames import FrameKey
from operando.streamer.core.pipeline.branch import FrameRecord
from operando.streamer.core.pipeline.scan_places import fill_gaps
from operando.streamer.core.register.motion import FrameMeasurement
from operando.streamer.core.register.particle import PositionMeasurement
from operando.streamer.core.register.places import FitRequest, refine
from operando.streamer.core.register.templates import begin
from operando.streamer.core.results import Status, skipped

HOME = np.array([(40.0, 45.0), (38.0, 120.0), (105.0, 48.0), (108.0, 122.0)])
RADII = [15.0, 16.0, 14.0, 17.0]
FRAMES = 10
CPU = torch.device("cpu")


def places(frame):
    """A field that moves to and fro from frame to frame, and 0.2 px on."""
    return HOME + [6.0 * (frame % 2), 0.2 * frame]


@pytest.fixture(scope="module")
def best(draw):
    """Templates of the particles."""
    views = [draw([(31.5, 31.5)], [r], noise=0.01, shape=(64, 64)) for r in RADII]
    return {n: begin(v.corrected.od, v.detections.labels == 1) for n, v in enumerate(views)}


@pytest.fixture
def scan(draw, best):
    """Frames of fading particles; `fits` of all but those that are missing."""

    def make(missing, gains=None):
        records, images, fits = [], {}, {}
        for frame in range(FRAMES):
            contrast = [0.4 + 0.1 * frame] * 4 if gains is None else gains(frame)
            drawn = draw(places(frame), RADII, contrast, seed=frame, frame=frame, detected=range(4))
            images[frame] = drawn.image, np.zeros((150, 170), np.int32)
            requests = [
                FitRequest(particle=p, template=best[p], start=yx, reach=3.0, label=0)
                for p, yx in enumerate(places(frame))
                if (frame, p) not in missing
            ]
            fits[frame] = refine(*images[frame], requests, RimStacks(CPU))
            records.append(record(frame, fits[frame]))
        return records, fits, images

    return make


def record(frame, fits):
    """A frame in which those particles were detected that have a fit."""
    key = FrameKey(run="run", stream="primary", data_key="image", seq_num=frame + 1)
    measured = [
        PositionMeasurement(
            particle=p, yx=f.yx, sigma=f.sigma, seen=True, cut=False, row=p, mask_yx=f.yx
        )
        for p, f in fits.items()
    ]
    return FrameRecord(
        result=replace(skipped(key, frame, 8300.0, float(frame), ""), status=Status.ALIGNED),
        measurement=FrameMeasurement(
            frame=frame, time=0.0, energy=None, shape=(150, 170), measured=tuple(measured)
        ),
        moments={},
        labels=np.zeros((150, 170), np.int32),
    )


def test_a_particle_is_found_before_it_was_first_seen_and_in_between(scan, best):
    missing = {(0, 3), (1, 3), (2, 3), (6, 1)}
    records, fits, images = scan(missing)
    filled = fill_gaps(records, fits, best, images.get, RimStacks(CPU))
    for frame, particle in missing:
        assert particle not in fits[frame]
        found = filled[frame][particle]
        np.testing.assert_allclose(found.yx, places(frame)[particle], atol=0.15)
        assert found.gain == pytest.approx(0.4 + 0.1 * frame, rel=0.15)
    for frame in range(FRAMES):
        assert sorted(filled[frame]) == [0, 1, 2, 3]
        for particle, fit in fits[frame].items():
            assert filled[frame][particle] is fit


def test_what_is_not_there_is_not_found(scan, best):
    hidden = [(4, 2), (5, 2)]
    gains = lambda frame: [1.0, 1.0, 0.0 if frame in (4, 5) else 1.0, 1.0]  # noqa: E731
    records, fits, images = scan(set(hidden), gains)
    filled = fill_gaps(records, fits, best, images.get, RimStacks(CPU))
    assert all(particle not in filled[frame] for frame, particle in hidden)


def test_what_has_not_the_contrast_of_the_others_is_something_else(scan, best):
    gains = lambda frame: [1.0, 1.0, 0.4 if frame in (4, 5) else 1.0, 1.0]  # noqa: E731
    records, fits, images = scan({(4, 2), (5, 2)}, gains)
    filled = fill_gaps(records, fits, best, images.get, RimStacks(CPU))
    assert 2 not in filled[4]
    assert 2 not in filled[5]


def test_what_was_seen_in_a_few_frames_only_may_be_no_particle(scan, best):
    missing = {(frame, 0) for frame in range(FRAMES) if frame not in (4, 5, 6)}
    records, fits, images = scan(missing)
    filled = fill_gaps(records, fits, best, images.get, RimStacks(CPU))
    assert [frame for frame in range(FRAMES) if 0 in filled[frame]] == [4, 5, 6]


def test_frames_that_tell_nothing_or_are_gone_are_left_alone(scan, best):
    missing = {(3, 0), (4, 0), (4, 1), (4, 2), (5, 0)}
    records, fits, images = scan(missing)
    del images[3]
    del fits[8]
    filled = fill_gaps(records, fits, best, images.get, RimStacks(CPU))
    # in frame 4 only one particle is left to tell how bright they are
    for frame in (3, 4):
        assert filled[frame] == fits[frame]
    assert filled[8] == {}
    assert 0 in filled[5]
