"""The pure parts of the feedback loop: matrix, decision, response, forecast, moves."""

from __future__ import annotations

import numpy as np
import pytest

from operando.callbacks.feedback import FeedbackSettings, LatestFrame, LatestResults, StageMatrix
from operando.callbacks.feedback.decision import LoopState, Moves, ahead, decide
from operando.callbacks.feedback.matrix import (
    Pair,
    check_against,
    first_move,
    fit_matrix,
    pair_of,
    proven,
    refused,
    respond,
)
from operando.streamer.errors import FeedbackError

SETTINGS = FeedbackSettings()
TRUE = np.array([[30.0, -8.0], [7.0, -31.0]])
TOUR = 0.2 * np.array([(0, 0), (1, 0), (-1, 0), (0, 1), (0, -1), (0, 0)])


def seen(y=0.0, x=0.0, *, time=100.0, sigma=0.05, particles=5):
    return LatestFrame(frame=1, time=time, drift=np.array([y, x]), sigma=sigma, particles=particles)


# -- matrix --------------------------------------------------------------------------------------


def test_matrix_comes_out_of_test_moves_while_the_sample_creeps():
    times = np.array([0.0, 4.0, 9.0, 13.0, 16.0, 21.0])
    drifts = TOUR @ TRUE.T + times[:, None] * np.array([0.3, -0.2]) + np.array([5.0, 1.0])
    matrix = fit_matrix(TOUR + (3.0, -2.0), drifts, times, SETTINGS)
    np.testing.assert_allclose(matrix.px_per_unit, TRUE, atol=1e-9)
    assert matrix.measured
    assert matrix.error == pytest.approx(0, abs=1e-9)
    np.testing.assert_allclose(matrix.to_image(matrix.to_stage(np.array([3.0, 4.0]))), (3, 4))


def test_matrix_of_noisy_test_moves_is_good_enough():
    rng = np.random.default_rng(0)
    for _ in range(50):
        drifts = TOUR @ TRUE.T + rng.normal(0, 0.2, (6, 2))
        matrix = fit_matrix(TOUR, drifts, np.arange(6.0), SETTINGS)
        assert np.abs(matrix.px_per_unit - TRUE).max() < 0.15 * np.abs(TRUE).max()


@pytest.mark.parametrize(
    ("drifts", "what"),
    [
        (np.zeros((6, 2)), "did not follow|almost the same line"),
        (np.random.default_rng(1).normal(0, 6, (6, 2)), "did not follow"),
        (TOUR @ np.array([[30.0, 30.0], [7.0, 7.1]]).T, "almost the same line"),
        (TOUR @ np.array([[30.0, 0.0], [0.0, 3.0]]).T, "almost the same line, or by unlike"),
    ],
)
def test_a_stage_that_the_image_does_not_follow_is_refused(drifts, what):
    with pytest.raises(FeedbackError, match=what):
        fit_matrix(TOUR, drifts, np.arange(6.0), SETTINGS)


def test_test_moves_of_one_axis_tell_no_matrix():
    one = TOUR * (1.0, 0.0)
    with pytest.raises(FeedbackError, match="move each axis"):
        fit_matrix(one, one @ TRUE.T, np.arange(6.0), SETTINGS)


@pytest.mark.parametrize("axis", [0, 1])
def test_a_sign_that_was_expected_otherwise_is_refused(axis):
    wrong = TRUE.copy()
    wrong[:, axis] *= -1
    with pytest.raises(FeedbackError, match=f"axis {axis} moves the image the other way"):
        check_against(StageMatrix.given(TRUE), StageMatrix.given(wrong), SETTINGS)


def test_a_size_that_was_expected_otherwise_is_refused_and_a_few_percent_are_not():
    check_against(StageMatrix.given(TRUE), StageMatrix.given(1.2 * TRUE), SETTINGS)
    with pytest.raises(FeedbackError, match="otherwise"):
        check_against(StageMatrix.given(TRUE), StageMatrix.given(3 * TRUE), SETTINGS)


@pytest.mark.parametrize("matrix", [np.ones((2, 2)), np.eye(3), [[1, np.nan], [0, 1]]])
def test_what_is_no_matrix_is_refused(matrix):
    with pytest.raises(FeedbackError, match="2 x 2 and invertible"):
        StageMatrix.given(matrix)


# -- decision ------------------------------------------------------------------------------------


def known(measured, *, since=(0.0, 0.0), total=(0.0, 0.0), now=101.0, least=0.0):
    return LoopState(
        measured=measured, since=np.array(since), total=np.array(total), now=now, least=least
    )


def test_the_drift_is_taken_back():
    decision = decide(known(seen(3.0, -4.0)), SETTINGS)
    assert decision.wanted
    np.testing.assert_allclose(decision.shift, (-3, 4))
    half = FeedbackSettings(gain=0.5)
    np.testing.assert_allclose(decide(known(seen(3.0, -4.0)), half).shift, (-1.5, 2))


def test_a_move_that_no_frame_shows_yet_is_not_made_twice():
    decision = decide(known(seen(6.0, 0.0), since=(-6.0, 0.0)), SETTINGS)
    assert decision.reason == "dead_band"
    np.testing.assert_allclose(decision.drift, (0, 0))


def test_long_moves_are_cut():
    decision = decide(known(seen(60.0, 80.0)), SETTINGS)
    np.testing.assert_allclose(decision.shift, (-12, -16))


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        (known(None), "nothing"),
        (known(seen(9, 9), now=100 + 61), "stale"),
        (known(seen(9, 9, sigma=1.5)), "uncertain"),
        (known(seen(9, 9, sigma=float("nan"))), "uncertain"),
        (known(seen(9, 9, particles=1)), "few_particles"),
        (known(seen(1.0, 1.0)), "dead_band"),
        (known(seen(3.0, 0.0), least=4.0), "unproven"),
        (known(seen(1.0, 0.0), least=4.0), "dead_band"),
        (known(seen(9, 0), total=(-495.0, 0.0)), "travel"),
    ],
)
def test_what_is_left_alone_has_a_reason(given, reason):
    decision = decide(given, SETTINGS)
    assert decision.reason == reason
    assert np.isnan(decision.shift).all()


# -- response ------------------------------------------------------------------------------------


def answers(gain, n, *, jitter=0.3, length=6.0, still=4, drift=(1.0, -0.5), seed=0):
    """Frames of which some came after no move, and n after one."""
    rng = np.random.default_rng(seed)
    pairs = []
    for number in range(still + n):
        moved = np.zeros(2) if number < still else rng.normal(0, length / 2**0.5, 2)
        shift = complex(*moved) * gain
        change = np.array([shift.real, shift.imag]) + drift + rng.normal(0, jitter, 2)
        pairs.append(Pair(moved=moved, change=change))
    return pairs


@pytest.mark.parametrize("measured", [True, False])
def test_a_stage_that_the_images_follow_is_proven_and_not_refused(measured):
    for seed in range(30):
        seen = respond(answers(1.1, 6, seed=seed), SETTINGS, measured=measured)
        assert refused(seen, SETTINGS) == ""
        assert proven(seen)
        assert seen.gain == pytest.approx(1.1, abs=0.2)


@pytest.mark.parametrize(
    ("gain", "why"), [(-1, "reversed"), (1j, "astray"), (3, "astray"), (0, "astray")]
)
def test_a_stage_that_they_do_not_follow_is_refused(gain, why):
    for seed in range(10):
        seen = respond(answers(gain + 0.02, 6, seed=seed), SETTINGS, measured=False)
        assert refused(seen, SETTINGS) == why or (gain == 1j and refused(seen, SETTINGS))
        assert not proven(seen)


@pytest.mark.parametrize("jitter", [0.1, 1.0, 3.0])
def test_a_first_move_of_the_wrong_sign_is_noticed_at_once(jitter):
    """Whatever the field does by itself: the more, the longer the first move is."""
    noticed = 0
    for seed in range(40):
        still = answers(0, 0, jitter=jitter, seed=seed)
        length = first_move(respond(still, SETTINGS, measured=False), SETTINGS)
        change = -np.array([length, 0.0]) + np.random.default_rng(seed).normal(0, jitter, 2)
        pair = Pair(moved=np.array([length, 0.0]), change=change + (1.0, -0.5))
        noticed += refused(respond([*still, pair], SETTINGS, measured=False), SETTINGS) != ""
    assert noticed >= 38


def test_nothing_is_proven_before_something_was_moved():
    seen = respond(answers(1, 0), SETTINGS, measured=False)
    assert not proven(seen)
    assert refused(seen, SETTINGS) == ""
    assert first_move(respond([], SETTINGS, measured=False), SETTINGS) == float("inf")


def test_taking_back_a_steady_drift_tells_nothing():
    """Each move makes good what has drifted meanwhile: no change, whatever the matrix."""
    still = [Pair(moved=np.array([2.0, 0.0]), change=np.zeros(2))] * 10
    for measured in (True, False):
        assert refused(respond(still, SETTINGS, measured=measured), SETTINGS) == ""


def test_a_loop_that_chases_jitter_is_not_taken_for_one_that_errs():
    """Each move takes back the jitter of the frame that it was decided by."""
    for seed in range(20):
        rng = np.random.default_rng(seed)
        jitter = rng.normal(0, 3.0, (40, 2))
        moves, frames, pairs, stage = Moves(), [], [], np.zeros(2)
        for number, own in enumerate(jitter):
            frames.append(seen(*(own + stage), time=10.0 * number))
            pair = pair_of(frames[-3:], moves)
            pairs += [] if pair is None else [pair]
            shift = -(own + stage)
            moves, stage = moves.made(10.0 * number + 5, shift), stage + shift
            response = respond(pairs[-10:], SETTINGS, measured=True)
            assert refused(response, SETTINGS) == ""


def test_the_frame_that_a_move_was_decided_by_is_left_out():
    frames = [seen(0, 0, time=0.0), seen(9, 9, time=10.0), seen(1, 0, time=20.0)]
    moves = Moves().made(15.0, np.array([-9.0, -9.0]))
    pair = pair_of(frames, moves)
    np.testing.assert_allclose(pair.moved, (-9, -9))
    np.testing.assert_allclose(pair.change, (1, 0))
    assert pair_of(frames[:2], moves) is None
    assert pair_of(frames, Moves().made(5.0, np.array([1.0, 0.0]))) is None
    np.testing.assert_allclose(pair_of(frames, Moves()).moved, (0, 0))


# -- forecast ------------------------------------------------------------------------------------


def test_a_steady_drift_is_carried_on_until_now():
    times = [0.0, 4.0, 8.0, 12.0, 16.0]
    drifts = [np.array([0.5 * t, -0.25 * t]) for t in times]
    np.testing.assert_allclose(ahead(times, drifts, 18.0), (1.0, -0.5), atol=1e-12)
    # later on nobody knows
    np.testing.assert_allclose(ahead(times, drifts, 500.0), (2.0, -1.0), atol=1e-12)
    np.testing.assert_allclose(ahead(times, drifts, 10.0), 0)


def test_jitter_is_not_carried_on():
    rng = np.random.default_rng(0)
    sent = [ahead(np.arange(5.0), rng.normal(0, 1, (5, 2)), 5.0).any() for _ in range(200)]
    assert np.mean(sent) < 0.2


@pytest.mark.parametrize("times", [[], [0.0, 1.0, 2.0], [0.0, 1.0, 1.0, 2.0]])
def test_no_forecast_without_a_course(times):
    assert not ahead(times, [np.ones(2)] * len(times), 9.0).any()


# -- moves ---------------------------------------------------------------------------------------


def test_moves_count_from_when_they_were_made():
    moves = Moves().made(10.0, np.array([1.0, 0.0])).made(20.0, np.array([0.0, 2.0]))
    np.testing.assert_allclose(moves.between(5.0), (1, 2))
    np.testing.assert_allclose(moves.between(10.0), (0, 2))
    np.testing.assert_allclose(moves.between(5.0, 20.0), (1, 2))
    np.testing.assert_allclose(moves.between(5.0, 19.9), (1, 0))
    np.testing.assert_allclose(moves.between(30.0), (0, 0))
    np.testing.assert_allclose(moves.total, (1, 2))


# -- latest --------------------------------------------------------------------------------------


def event(time, **data):
    base = {
        "frame": 0, "raw_seq_num": 1, "drift_y": 1.0, "drift_x": 2.0, "drift_sigma": 0.1,
        "status": "aligned", "n_particles": 4,
    }  # fmt: skip
    return {"time": time, "data": {**base, **data}}


def test_the_newest_frame_counts_and_skipped_ones_are_heard_of():
    latest = LatestResults()
    assert latest.measured is None
    assert latest.heard is None
    latest("start", {"uid": "u"})
    latest("event", event(10.0, drift_y=5.0, frame=1))
    latest("event", event(20.0, drift_y=6.0, frame=2))
    latest("event", event(10.0, drift_y=7.0, frame=1))  # a second look
    latest("event", event(30.0, status="skipped", drift_y=float("nan")))
    latest("event", event(40.0, drift_sigma=float("nan")))
    assert (latest.measured.frame, latest.measured.time) == (2, 20.0)
    np.testing.assert_allclose(latest.measured.drift, (6, 2))
    assert latest.heard == 40.0
    latest("event", event(20.0, drift_y=6.5, frame=2))
    assert latest.measured.drift[0] == 6.5


def test_the_newest_advice_of_a_kind_is_kept():
    latest = LatestResults()
    for frame in (1, 2):
        data = {"kind": "recenter", "severity": "info", "frame": frame, "acted": False}
        latest("event", {"time": 1.0, "data": data})
    assert latest.advice("recenter")["frame"] == 2
    assert latest.advice("beam") is None
    assert latest.measured is None
