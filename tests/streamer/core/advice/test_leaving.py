"""Which particles are about to leave the field, and when."""

from __future__ import annotations

import numpy as np
import pytest

from operando.streamer.core import advice
from operando.streamer.core.advice import AdviceSettings, Kind, Severity, StageMove
from operando.streamer.core.advice.alerts import fit_line
from operando.streamer.core.advice.state import Path

SHAPE = (200, 300)
RADIUS = 10.0  # of the particles of the fixture


def leaving(results, settings=None, moves=()):
    state, told = advice.init(), []
    for move in moves:
        state = advice.moved(state, move)
    for result in results:
        state, more = advice.update(state, result, SHAPE, 0.1, settings or AdviceSettings())
        told += [item for item in more if item.kind == Kind.LEAVING]
    return told


def moving(frame, start, step, n, noise=0.05, seed=0):
    """Frames of a particle on a straight line; they are 4 s apart."""
    rng = np.random.default_rng(seed)
    at = np.array(start) + np.arange(n)[:, None] * np.array(step) + rng.normal(0, noise, (n, 2))
    return [frame(i, [(7, tuple(yx))]) for i, yx in enumerate(at)]


@pytest.mark.parametrize(
    ("start", "step", "side"),
    [
        ((80, 150), (-2, 0), "top"),
        ((120, 150), (2, 0), "bottom"),
        ((100, 80), (0, -2), "left"),
        ((100, 220), (0, 2), "right"),
    ],
)
def test_the_side_and_the_time_left_are_right(frame, start, step, side):
    told = leaving(moving(frame, start, step, 34))
    first = told[0]
    assert (first.particle, first.severity) == (7, Severity.WARNING)
    assert side in first.message
    # at half a px a second, told when a minute is left
    assert first.time_left == pytest.approx(60.0, abs=6.0)
    assert np.hypot(*np.subtract(first.velocity, np.array(step) / 4)) < 0.02
    # the rim cuts it 70 px from where it started, 140 s after the first frame
    rim = 4.0 * first.frame + first.time_left
    assert rim == pytest.approx(139.0, abs=4.0)
    alarms = [item for item in told if item.severity == Severity.ALARM]
    assert alarms[0].time_left <= 15.0


def test_one_that_turns_back_is_over(frame):
    out = moving(frame, (100, 240), (0, 2), 12)
    back = moving(frame, (100, 262), (0, -2), 26)
    frames = out + [frame(i, [(7, tuple(r.particles[0].yx))]) for i, r in enumerate(back, len(out))]
    told = leaving(frames)
    assert told[0].active
    assert not told[-1].active


def test_noise_is_no_velocity(frame):
    for seed in range(10):
        assert leaving(moving(frame, (100, 285), (0, 0), 80, noise=0.8, seed=seed)) == []


def test_one_that_lies_across_the_rim_and_stays_is_not_leaving(frame):
    assert leaving(moving(frame, (3, 150), (0, 0), 30, noise=0.2)) == []


def test_one_that_is_cut_and_moves_outwards_is_an_alarm(frame):
    told = leaving(moving(frame, (8, 150), (-0.5, 0), 10))
    assert {item.severity for item in told} == {Severity.ALARM}
    assert "is being cut at the top" in told[0].message


def test_moves_of_the_stage_are_no_velocity_of_the_sample(frame):
    # the stage steps outwards by 3 px per frame; the sample stays on it
    frames = moving(frame, (100, 200), (0, 3), 24)
    moves = [StageMove(time=f.time - 1.0, move=(0.0, 3.0)) for f in frames[1:]]
    assert leaving(frames) != []
    assert leaving(frames, moves=moves) == []


def test_a_particle_that_is_lost_is_forgotten(frame):
    frames = [*moving(frame, (100, 270), (0, 2), 10), frame(10, [(7, (100, 290), "lost")])]
    state = advice.init()
    for result in frames:
        state, _ = advice.update(state, result, SHAPE, 0.1, AdviceSettings())
    assert 7 not in state.paths
    assert (Kind.LEAVING, 7) not in state.latches


def test_velocity_of_a_line_is_exact_and_its_error_that_of_the_scatter():
    times = tuple(float(t) for t in (0, 1, 2.5, 4, 5))
    exact = Path(times=times, places=tuple((2 * t, -t) for t in times))
    velocity, error = fit_line(exact)
    np.testing.assert_allclose(velocity, (2, -1), atol=1e-12)
    np.testing.assert_allclose(error, 0, atol=1e-12)
    rng = np.random.default_rng(0)
    found = []
    for _ in range(400):
        places = tuple((2 * t + rng.normal(0, 0.3), 0.0) for t in times)
        found.append([v[0] for v in fit_line(Path(times=times, places=places))])
    found = np.array(found)
    assert np.sqrt((found[:, 1] ** 2).mean()) == pytest.approx(found[:, 0].std(), rel=0.15)


@pytest.mark.parametrize("times", [(0.0, 1.0, 2.0), (0.0, 1.0, 1.0, 2.0), (0.0, 2.0, 1.0, 3.0)])
def test_no_velocity_from_too_few_places_or_times_that_do_not_advance(times):
    assert fit_line(Path(times=times, places=tuple((t, t) for t in times))) is None
