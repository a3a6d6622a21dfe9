"""The choice of a rung: in time, without swinging, and back up again."""

from __future__ import annotations

import itertools

import pytest

from operando.streamer.core.frames import Effort, Rung
from operando.streamer.core.pipeline import ladder
from operando.streamer.core.pipeline.ladder import Observation

ALL = (Rung.NETWORKS, Rung.CLASSICAL, Rung.COASTING)
COSTS = {Rung.NETWORKS: 0.3, Rung.CLASSICAL: 0.05, Rung.COASTING: 0.01}


def observe(queued=1, spent=0.0, known=True):
    return Observation(deadline=1.0, spent=spent, queued=queued, known=known)


def follow(state, observations, costs=COSTS):
    """Rungs taken for frames, each of which costs what its rung costs."""
    taken = []
    for now in observations:
        state, rung = ladder.update(state, now)
        state = ladder.timed(state, rung, costs[rung])
        taken.append(rung)
    return state, taken


def settled(costs=COSTS):
    """A ladder that knows what every rung costs."""
    state = ladder.init(ALL)
    for rung, cost in costs.items():
        for _ in range(5):
            state = ladder.timed(state, rung, cost)
    return state


def test_without_a_backlog_the_best_rung_is_taken():
    _, taken = follow(ladder.init(ALL), [observe()] * 30)
    assert set(taken) == {Rung.NETWORKS}


@pytest.mark.parametrize(
    ("queued", "rung"),
    [(3, Rung.NETWORKS), (4, Rung.CLASSICAL), (20, Rung.CLASSICAL), (21, Rung.COASTING)],
)
def test_a_backlog_takes_the_next_cheaper_rung_that_meets_the_deadline(queued, rung):
    _, chosen = ladder.update(settled(), observe(queued))
    assert chosen == rung


def test_time_that_is_spent_is_no_longer_there():
    assert ladder.update(settled(), observe(3, spent=0.05))[1] == Rung.NETWORKS
    assert ladder.update(settled(), observe(3, spent=0.2))[1] == Rung.CLASSICAL
    assert ladder.update(settled(), observe(3, spent=0.9))[1] == Rung.COASTING


def test_a_rung_that_was_never_taken_is_tried():
    state = ladder.timed(ladder.init(ALL), Rung.NETWORKS, 5.0)
    state, rung = ladder.update(state, observe(50))
    assert rung == Rung.CLASSICAL


def test_it_goes_back_up_only_after_several_calm_frames():
    state, _ = follow(settled(), [observe(10)])
    _, taken = follow(state, [observe(1)] * 8)
    first = taken.index(Rung.NETWORKS)
    assert first == 2
    assert set(taken[:first]) == {Rung.CLASSICAL}
    assert set(taken[first:]) == {Rung.NETWORKS}


def test_one_rung_at_a_time_from_coasting():
    state, _ = follow(settled(), [observe(100)])
    assert state.rung == Rung.COASTING
    _, taken = follow(state, [observe(1)] * 14)
    order = list(dict.fromkeys(taken))
    assert order == [Rung.COASTING, Rung.CLASSICAL, Rung.NETWORKS]


def test_a_load_at_the_limit_does_not_make_it_swing():
    # 3 frames meet the deadline on the networks, 4 do not
    _, taken = follow(settled(), [observe(3 + i % 2) for i in range(60)])
    changes = sum(a != b for a, b in itertools.pairwise(taken))
    assert changes <= 1


def test_particles_do_not_coast_for_ever():
    _, taken = follow(settled(), [observe(1000)] * 60)
    runs = "".join("c" if r == Rung.COASTING else "L" for r in taken).split("L")
    assert 1 <= max(map(len, runs)) <= 10
    assert taken.count(Rung.CLASSICAL) == 60 // 11


def test_where_nothing_is_known_nothing_can_coast():
    _, rung = ladder.update(settled(), observe(1000, known=False))
    assert rung == Rung.CLASSICAL


def test_a_slow_first_frame_does_not_rule_the_networks_out_for_ever():
    state = ladder.timed(ladder.init(ALL), Rung.NETWORKS, 30.0)  # compiled its kernels
    _, taken = follow(state, [observe(1)] * 250)
    assert taken[0] == Rung.CLASSICAL
    assert set(taken[-100:]) == {Rung.NETWORKS}


def test_the_threshold_alone_has_two_rungs():
    state = ladder.init((Rung.CLASSICAL, Rung.COASTING))
    _, taken = follow(state, [observe(1)] * 3)
    assert set(taken) == {Rung.CLASSICAL}


def test_what_is_told():
    assert Effort().reason == ""
    assert Effort(Rung.CLASSICAL).reason == ""
    assert Effort(Rung.COASTING, "deadline").reason == "detector:coasting:deadline"
