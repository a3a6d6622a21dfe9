"""When known particles are followed, and when the whole frame is searched."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from operando.streamer.incremental import can_coast, expected
from operando.streamer.link import LinkState, Track, TrackState


def track(particle, yx, state=TrackState.TRACKED, **changes):
    made = Track(
        particle=particle,
        state=state,
        yx=np.array(yx, dtype=float),
        area=np.pi * 100.0,
        moments=np.array([100.0, 100.0, 0.0]),
        mask=np.ones((20, 20), bool),
        mask_yx=np.array([9.5, 9.5]),
        thumbnail=np.zeros((24, 24), np.float32),
        hits=5,
        misses=0,
        whole=True,
        step=np.zeros(2),
        velocity=np.zeros(2),
    )
    return replace(made, **changes)


def state(*tracks, **changes):
    shift = np.array([2.0, -1.0])
    return LinkState(**{"tracks": tracks, "shift": shift, "new_run": False, **changes})


ONE, TWO = track(0, (50, 60)), track(1, (80, 20), velocity=np.array([3.0, 0.0]))


def test_places_are_those_of_the_image_with_what_moves_on_its_own():
    found = expected(state(ONE, TWO), 0, 5)
    assert found is not None
    np.testing.assert_allclose(found.centres, [[52, 59], [85, 19]])
    np.testing.assert_allclose(found.diameters, 20)


@pytest.mark.parametrize(("unsearched", "every"), [(0, 1), (1, 2), (4, 5), (9, 5)])
def test_the_whole_frame_is_searched_every_so_many_frames(unsearched, every):
    assert expected(state(ONE), unsearched, every) is None
    assert expected(state(ONE), unsearched, unsearched + 2) is not None


@pytest.mark.parametrize("other", [TrackState.COASTING, TrackState.TENTATIVE])
def test_it_is_searched_while_a_particle_is_missing_or_not_confirmed(other):
    assert expected(state(ONE, track(2, (9, 9), other)), 0, 5) is None


def test_it_is_searched_when_a_run_begins_and_when_nothing_is_known():
    assert expected(state(ONE, new_run=True), 0, 5) is None
    assert expected(state(), 0, 5) is None


def test_what_is_lost_for_long_is_looked_for_by_searches_only():
    found = expected(state(ONE, track(2, (9, 9), TrackState.LOST)), 0, 5)
    assert found is not None
    assert len(found) == 1


def test_what_only_its_template_has_found_is_left_to_it():
    found = expected(state(ONE, track(2, (9, 9), confirmed=3)), 0, 5)
    assert found is not None
    assert len(found) == 1
    assert expected(state(track(2, (9, 9), confirmed=3)), 0, 5) is None


def test_only_tracked_particles_of_the_same_run_can_coast():
    assert can_coast(state(ONE))
    assert can_coast(state(track(2, (9, 9), confirmed=3)))
    assert not can_coast(state(ONE, new_run=True))
    assert not can_coast(state(track(0, (9, 9), TrackState.TENTATIVE)))
    assert not can_coast(state())
