"""What is told of a run of frames, and what is not told again."""

from __future__ import annotations

import numpy as np
import pytest

from operando.streamer.core import advice
from operando.streamer.core.advice import AdviceSettings, Kind, Severity, StageMove
from operando.streamer.core.advice.alerts import AlertEvidence
from operando.streamer.core.advice.core import settle

SHAPE = (200, 300)
START = 1_700_000_000.0


def through(results, settings=None, *, latency=lambda _: 0.5, moves=()):
    """All that is told of some frames, and the state after them."""
    state, told = advice.init(), []
    for move in moves:
        state = advice.moved(state, move)
    for result in results:
        state, more = advice.update(
            state, result, SHAPE, latency(result), settings or AdviceSettings()
        )
        told += more
    return state, told


def of(told, kind):
    return [item for item in told if item.kind == kind]


def test_a_calm_field_gives_no_advice(frame):
    rng = np.random.default_rng(1)
    frames = [
        frame(i, [(0, 100 + rng.normal(0, 1, 2)), (1, 60 + rng.normal(0, 1, 2))],
              drift=rng.normal(0, 1, 2))
        for i in range(60)
    ]  # fmt: skip
    assert through(frames)[1] == []


def test_drift_is_told_once_and_again_when_it_grows_or_lasts(frame):
    drifts = [0, 2, 4, 5.5, 6, 7, 11, 11, 11, 11, 11, 11, 11, 11, 11]
    _, told = through([frame(i, drift=(d, 0.0)) for i, d in enumerate(drifts)])
    assert [item.frame for item in told] == [3, 6, 14]
    first = told[0]
    assert (first.kind, first.severity) == (Kind.RECENTER, Severity.INFO)
    assert first.move == pytest.approx((-5.5, 0.0))
    assert first.sigma == pytest.approx(0.05)
    assert first.time == START + 12.0
    assert not first.acted


def test_drift_is_over_only_below_half_of_its_limit(frame):
    drifts = [0, 6, 4, 4, 4, 4, 2, 2, 2, 2]
    _, told = through([frame(i, drift=(0.0, d)) for i, d in enumerate(drifts)])
    assert [(item.frame, item.active) for item in told] == [(1, True), (8, False)]


def test_uncertain_drift_recommends_no_move(frame):
    frames = [frame(i, drift=(30.0, 0), sigma=s) for i, s in enumerate([np.nan, 5.0, 5.0])]
    assert of(through(frames)[1], Kind.RECENTER) == []


def test_later_revisions_say_nothing(frame, revised):
    frames = [frame(0), revised(frame(1, drift=(50.0, 0.0)))]
    assert through(frames)[1] == []


def test_no_advice_where_none_is_wanted(frame, lost_frame):
    frames = [frame(0), lost_frame(1), frame(2, drift=(90.0, 0))]
    assert through(frames, AdviceSettings(enabled=False))[1] == []


def test_a_lost_beam_is_an_alarm_until_there_is_light_again(frame, lost_frame):
    frames = [frame(0), *(lost_frame(i) for i in range(1, 5)), *(frame(i) for i in range(5, 9))]
    told = of(through(frames)[1], Kind.BEAM)
    assert [(item.frame, item.severity, item.active) for item in told] == [
        (1, Severity.ALARM, True),
        (7, Severity.INFO, False),
    ]


def test_a_frame_skipped_for_another_reason_is_no_lost_beam(frame, lost_frame):
    assert through([frame(0), lost_frame(1, "duplicate")])[1] == []


def test_one_blurred_frame_is_motion_and_several_are_defocus(frame):
    frames = [frame(i, reason="blurred" if i in (2, 6, 7, 8) else "") for i in range(13)]
    told = through(frames)[1]
    assert [i.frame for i in of(told, Kind.BLURRED)] == [2, 6]
    assert [(i.frame, i.severity, i.active) for i in of(told, Kind.DEFOCUS)] == [
        (8, Severity.ALARM, True),
        (11, Severity.INFO, False),
    ]


def test_a_jump_is_told_and_the_usual_jitter_is_not(frame):
    rng = np.random.default_rng(2)
    calm = rng.normal(0, 0.5, (20, 2))
    calm[12:] += (0.0, 14.0)
    told = of(through([frame(i, drift=d) for i, d in enumerate(calm)])[1], Kind.JUMP)
    assert [item.frame for item in told] == [12]
    assert "14" in told[0].message or "13" in told[0].message
    # a field that goes on at that rate is not jumping all the time
    steady = np.cumsum(np.full((40, 2), 9.0), axis=0)
    told = of(through([frame(i, drift=d) for i, d in enumerate(steady)])[1], Kind.JUMP)
    assert [item.frame for item in told] == [1]


def test_a_move_of_the_stage_is_told_as_acted_and_is_no_jump(frame):
    frames = [frame(i, drift=(20.0 if i < 5 else 0.0, 0.0)) for i in range(10)]
    move = StageMove(time=frames[4].time + 1.0, move=(-20.0, 0.0), sigma=0.1)
    state, told = through(frames, moves=[move])
    assert of(told, Kind.JUMP) == []
    (acted,) = [item for item in told if item.acted]
    assert (acted.kind, acted.frame, acted.move) == (Kind.RECENTER, 5, (-20.0, 0.0))
    assert state.offset == (-20.0, 0.0)
    assert state.pending == ()
    # without being told of it, it is a jump
    assert [item.frame for item in of(through(frames)[1], Kind.JUMP)] == [5]


def test_a_move_of_unknown_length_is_no_jump_either(frame):
    frames = [frame(i, drift=(12.0 if i == 5 else 0.0, 0.0)) for i in range(6)]
    unknown = StageMove(time=frames[5].time - 1.0, move=(float("nan"),) * 2, reason="test")
    told = through(frames, moves=[unknown])[1]
    assert of(told, Kind.JUMP) == []
    assert [item.message for item in told if item.acted] == ["the stage has moved the image, test"]


def test_a_lost_particle_is_told_and_when_it_is_back(frame):
    both = [(0, (50, 50)), (1, (90, 90))]
    frames = [
        frame(0, both),
        frame(1, [both[0], (1, (90, 90), "coasting")]),
        frame(2, [both[0], (1, (90, 90), "lost")]),
        *(frame(i, [both[0]]) for i in range(3, 20)),
        *(frame(i, both) for i in range(20, 24)),
    ]
    told = of(through(frames)[1], Kind.LOST)
    assert [(i.frame, i.particle, i.severity, i.active) for i in told] == [
        (2, 1, Severity.WARNING, True),
        (22, 1, Severity.INFO, False),
    ]


def test_the_last_particle_lost_is_an_alarm(frame):
    told = of(through([frame(0, [(0, (50, 50))]), frame(1, [(0, (50, 50), "lost")])])[1], Kind.LOST)
    assert [item.severity for item in told] == [Severity.ALARM]


def test_results_that_come_ever_later_are_lagging(frame):
    delays = [3.0, 3.1, 8, 14, 15, 15, 12, 9, 7, 7, 7, 3]
    frames = [frame(i) for i in range(len(delays))]
    told = of(through(frames, latency=lambda r: delays[r.frame])[1], Kind.LAGGING)
    assert [(item.frame, item.active) for item in told] == [(3, True), (10, False)]
    assert told[0].severity == Severity.WARNING
    assert told[0].valid_s == pytest.approx(14 + 11)


@pytest.mark.parametrize("skew", [300.0, -300.0, 2e8])
def test_clocks_that_are_apart_and_replays_do_not_lag(frame, skew):
    assert through([frame(i) for i in range(5)], latency=lambda r: skew + 0.1 * r.frame)[1] == []


def test_a_clock_that_is_set_back_silences_nothing(frame):
    settings = AdviceSettings(repeat_s=30.0)
    frames = [frame(0), frame(1, drift=(6.0, 0)), frame(2, drift=(6.0, 0), time=START - 3600)]
    assert [item.frame for item in through(frames, settings)[1]] == [1, 2]


def test_what_gets_worse_is_told_at_once():
    settings = AdviceSettings()

    def found(severity, time):
        item = advice.Advice(
            kind=Kind.LEAVING,
            severity=severity,
            message="",
            frame=0,
            time=time,
            valid_s=1.0,
            particle=3,
        )
        return [AlertEvidence(kind=Kind.LEAVING, particle=3, advice=item)]

    latches, told = settle({}, found(Severity.WARNING, 0.0), (0, 0.0), settings)
    assert len(told) == 1
    latches, told = settle(latches, found(Severity.WARNING, 1.0), (1, 1.0), settings)
    assert told == ()
    latches, told = settle(latches, found(Severity.ALARM, 2.0), (2, 2.0), settings)
    assert len(told) == 1
    latches, told = settle(latches, found(Severity.WARNING, 3.0), (3, 3.0), settings)
    assert told == ()
    latches, _ = settle(
        latches, [AlertEvidence(kind=Kind.LEAVING, particle=3, forget=True)], (4, 4.0), settings
    )
    assert latches == {}


def test_advice_as_data_has_the_keys_of_the_contract(frame):
    _, told = through([frame(0), frame(1, drift=(6.0, 0))])
    data = advice.advice_data(told[0])
    assert list(data) == list(advice.ADVICE_KEYS)
    assert list(data)[:7] == [
        "kind",
        "severity",
        "message",
        "particle",
        "move_y",
        "move_x",
        "acted",
    ]
    assert (data["kind"], data["severity"]) == ("recenter", "info")
    assert type(data["kind"]) is str
    assert data["particle"] == -1
