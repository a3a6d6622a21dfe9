"""The choice of a mode: in time, without swinging, and back up again."""

from __future__ import annotations

import itertools

import pytest

from operando.streamer.core.frames import DetectionEffort, DetectionMode
from operando.streamer.core.pipeline import search
from operando.streamer.core.pipeline.search import QueueStatus

ALL = (DetectionMode.NETWORKS, DetectionMode.CLASSICAL, DetectionMode.COASTING)
COSTS = {DetectionMode.NETWORKS: 0.3, DetectionMode.CLASSICAL: 0.05, DetectionMode.COASTING: 0.01}


def observe(queued=1, spent=0.0, known=True):
    return QueueStatus(deadline=1.0, spent=spent, queued=queued, known=known)


def follow(state, observations, costs=COSTS):
    """Modes taken for frames, each of which costs what its mode costs."""
    taken = []
    for now in observations:
        state, mode = search.update(state, now)
        state = search.timed(state, mode, costs[mode])
        taken.append(mode)
    return state, taken


def settled(costs=COSTS):
    """A ladder that knows what every mode costs."""
    state = search.init(ALL)
    for mode, cost in costs.items():
        for _ in range(5):
            state = search.timed(state, mode, cost)
    return state


def test_without_a_backlog_the_best_rung_is_taken():
    _, taken = follow(search.init(ALL), [observe()] * 30)
    assert set(taken) == {DetectionMode.NETWORKS}


@pytest.mark.parametrize(
    ("queued", "mode"),
    [
        (3, DetectionMode.NETWORKS),
        (4, DetectionMode.CLASSICAL),
        (20, DetectionMode.CLASSICAL),
        (21, DetectionMode.COASTING),
    ],
)
def test_a_backlog_takes_the_next_cheaper_rung_that_meets_the_deadline(queued, mode):
    _, chosen = search.update(settled(), observe(queued))
    assert chosen == mode


def test_time_that_is_spent_is_no_longer_there():
    assert search.update(settled(), observe(3, spent=0.05))[1] == DetectionMode.NETWORKS
    assert search.update(settled(), observe(3, spent=0.2))[1] == DetectionMode.CLASSICAL
    assert search.update(settled(), observe(3, spent=0.9))[1] == DetectionMode.COASTING


def test_a_rung_that_was_never_taken_is_tried():
    state = search.timed(search.init(ALL), DetectionMode.NETWORKS, 5.0)
    state, mode = search.update(state, observe(50))
    assert mode == DetectionMode.CLASSICAL


def test_it_goes_back_up_only_after_several_calm_frames():
    state, _ = follow(settled(), [observe(10)])
    _, taken = follow(state, [observe(1)] * 8)
    first = taken.index(DetectionMode.NETWORKS)
    assert first == 2
    assert set(taken[:first]) == {DetectionMode.CLASSICAL}
    assert set(taken[first:]) == {DetectionMode.NETWORKS}


def test_one_rung_at_a_time_from_coasting():
    state, _ = follow(settled(), [observe(100)])
    assert state.mode == DetectionMode.COASTING
    _, taken = follow(state, [observe(1)] * 14)
    order = list(dict.fromkeys(taken))
    assert order == [DetectionMode.COASTING, DetectionMode.CLASSICAL, DetectionMode.NETWORKS]


def test_a_load_at_the_limit_does_not_make_it_swing():
    # 3 frames meet the deadline on the networks, 4 do not
    _, taken = follow(settled(), [observe(3 + i % 2) for i in range(60)])
    changes = sum(a != b for a, b in itertools.pairwise(taken))
    assert changes <= 1


def test_particles_do_not_coast_for_ever():
    _, taken = follow(settled(), [observe(1000)] * 60)
    runs = "".join("c" if r == DetectionMode.COASTING else "L" for r in taken).split("L")
    assert 1 <= max(map(len, runs)) <= 10
    assert taken.count(DetectionMode.CLASSICAL) == 60 // 11


def test_where_nothing_is_known_nothing_can_coast():
    _, mode = search.update(settled(), observe(1000, known=False))
    assert mode == DetectionMode.CLASSICAL


def test_a_slow_first_frame_does_not_rule_the_networks_out_for_ever():
    state = search.timed(search.init(ALL), DetectionMode.NETWORKS, 30.0)  # compiled its kernels
    _, taken = follow(state, [observe(1)] * 250)
    assert taken[0] == DetectionMode.CLASSICAL
    assert set(taken[-100:]) == {DetectionMode.NETWORKS}


def test_the_threshold_alone_has_two_rungs():
    state = search.init((DetectionMode.CLASSICAL, DetectionMode.COASTING))
    _, taken = follow(state, [observe(1)] * 3)
    assert set(taken) == {DetectionMode.CLASSICAL}


def test_what_is_told():
    assert DetectionEffort().reason == ""
    assert DetectionEffort(DetectionMode.CLASSICAL).reason == ""
    assert (
        DetectionEffort(DetectionMode.COASTING, "deadline").reason == "detector:coasting:deadline"
    )
