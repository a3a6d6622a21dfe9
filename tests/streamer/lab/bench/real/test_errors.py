"""Figures of merit of a measured motion."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from operando.streamer.lab.bench.real_injected import (
    centred,
    frame_errors,
    motion_error,
    particle_errors,
)

REGION = np.repeat(["below", "at", "above"], 4)
FRAMES = len(REGION)


def table(positions: np.ndarray, **more) -> pd.DataFrame:
    """Rows of particles (F, P, 2)."""
    frame, particle = np.mgrid[: positions.shape[0], : positions.shape[1]].reshape(2, -1)
    y, x = positions.reshape(-1, 2).T
    columns = {"frame": frame, "particle": particle, "y": y, "x": x, "state": "tracked"}
    columns |= {"revision": 0, "sigma_y": 0.1, "sigma_x": 0.1, "area": 100.0}
    return pd.DataFrame(columns | more)


def test_a_jump_at_the_edge_is_the_step():
    errors = np.zeros((FRAMES, 2))
    errors[REGION == "at"] = (0.0, 1.0)
    errors[REGION == "above"] = (0.3, 0.4)
    found = motion_error(centred(errors), REGION)
    assert found.step == pytest.approx(0.5)
    assert found.bump == pytest.approx(1.0)
    assert found.frames == found.of == FRAMES


def test_frames_without_a_measurement_are_counted_not_guessed():
    errors = np.ones((FRAMES, 2))
    errors[REGION == "above"] = np.nan
    found = motion_error(errors, REGION)
    assert (found.frames, found.of) == (8, FRAMES)
    assert np.isnan(found.step)
    assert found.median == pytest.approx(np.sqrt(2))


def test_constant_offsets_and_the_known_motion_do_not_count():
    rng = np.random.default_rng(0)
    motion = rng.normal(0, 2, (FRAMES, 2))
    places = np.array([[10.0, 20.0], [30.0, 5.0], [50.0, 40.0]])
    rows = table(places + motion[:, None])
    errors = particle_errors(rows, motion, "highest")
    assert np.abs(errors[["dy", "dx"]]).to_numpy().max() < 1e-9
    wrong = particle_errors(rows, -motion, "highest")
    expected = centred(2 * motion)
    np.testing.assert_allclose(frame_errors(wrong, FRAMES), expected, atol=1e-9)


def test_one_particle_of_three_does_not_move_the_frame():
    motion = np.zeros((FRAMES, 2))
    positions = np.tile(np.array([[10.0, 20.0], [30.0, 5.0], [50.0, 40.0]]), (FRAMES, 1, 1))
    positions[6:, 0] += 3.0
    errors = frame_errors(particle_errors(table(positions), motion, "highest"), FRAMES)
    assert np.abs(errors).max() < 1e-9


def test_predictions_of_a_coasting_particle_are_no_measurements():
    motion = np.zeros((2, 2))
    rows = table(np.array([[[1.0, 1.0]], [[9.0, 9.0]]]), state=["tracked", "coasting"])
    assert list(particle_errors(rows, motion, "highest")["frame"]) == [0]
