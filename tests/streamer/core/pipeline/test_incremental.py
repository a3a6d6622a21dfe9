"""When known particles are followed, and when the whole frame is searched."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from operando.streamer.core.frames import FrameKey, OpticalDensityFrame
from operando.streamer.core.link import LinkState, Track, TrackState
from operando.streamer.core.pipeline import search
from operando.streamer.core.pipeline.search import can_coast


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


def frame(*places, shape=(140, 140)):
    """A frame with squares of 20 px at some places."""
    od = np.zeros(shape, np.float32)
    for y, x in places:
        od[int(y - 9.5) : int(y + 10.5), int(x - 9.5) : int(x + 10.5)] = 1.0
    key = FrameKey(run="r", stream="primary", data_key="i", seq_num=1)
    return OpticalDensityFrame(
        key=key,
        frame=7,
        energy=8350.0,
        time=0.0,
        od=od,
        valid=np.ones(shape, bool),
        sigma=0.0,
        revision=0,
        provisional=False,
    )


def expected(link, unsearched, every, corrected=None):
    return search.expected(link, corrected or frame(), unsearched, every)


ONE, TWO = track(0, (50, 60)), track(1, (80, 20), velocity=np.array([3.0, 0.0]))


def test_places_are_those_of_the_image_with_what_moves_on_its_own():
    found = expected(state(ONE, TWO), 0, 5)
    assert found is not None
    np.testing.assert_allclose(found.centres, [[52, 59], [85, 19]])
    np.testing.assert_allclose(found.diameters, 20)


def test_places_move_with_what_is_seen_of_the_common_shift():
    found = expected(state(ONE, TWO), 0, 5, frame((61.5, 63.5), (94.5, 23.5)))
    assert found is not None
    np.testing.assert_allclose(found.centres, [[61.5, 63.5], [94.5, 23.5]], atol=2.0)


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


def test_of_a_particle_that_the_frame_cuts_what_is_shown_is_expected():
    cut = track(2, (70 - 2, 4.5 + 1))  # a quarter of its columns are outside
    found = expected(state(ONE, cut), 0, 5)
    assert found is not None
    np.testing.assert_allclose(found.centres[1], [70, 7], atol=0.6)
    np.testing.assert_allclose(found.diameters[1], 20 * 0.75**0.5, rtol=0.02)


def test_a_particle_that_leaves_the_frame_makes_it_be_searched():
    assert expected(state(ONE, track(2, (70, -6.0))), 0, 5) is None
