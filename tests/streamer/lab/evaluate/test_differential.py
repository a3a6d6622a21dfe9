"""Differential maps of particles that do not change: only misplacement leaves a rim."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from operando.streamer.lab.evaluate.similarity import compare_maps, rim_residuals
from operando.streamer.lab.simulate import SimSettings, Simulator


@pytest.fixture(autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def rigid():
    """Particles that neither turn nor stretch nor react: true positions leave no rim."""
    sim = Simulator(
        SimSettings(
            seed=2,
            shape=(200, 210),
            n_particles=3,
            radius_px=(14.0, 20.0),
            energies=tuple(np.linspace(8400, 8420, 12)),
            charge=(0.4, 0.4),
            spin_deg=0.0,
            rotation_deg=0.0,
            strain=(0.0, 0.0, 0.0),
            background=0.0,
        )
    )
    noise = np.random.default_rng(0).normal(0, 0.02, (12, 200, 210)).astype(np.float32)
    return sim, np.stack([sim.od(k) for k in range(12)]) + noise


def test_true_positions_leave_no_rim(rigid):
    sim, od = rigid
    found = compare_maps(od, sim.truth.yx, sim, average=4)
    assert found.n == 3
    assert found.residual == found.oracle == pytest.approx(1, abs=0.15)
    constant = compare_maps(od, sim.truth.yx + [0.8, -0.6], sim, average=4)
    assert constant.residual == pytest.approx(found.oracle, abs=0.1)


def test_a_step_between_first_and_last_shows_on_the_rim(rigid):
    sim, od = rigid
    yx = sim.truth.yx.copy()
    yx[:6, :, 0] += 0.5
    found = compare_maps(od, yx, sim, average=4)
    assert found.residual > 1.5 * found.oracle


def test_particles_with_too_few_frames_are_left_out(rigid):
    sim, od = rigid
    yx = sim.truth.yx.copy()
    yx[3:, 1] = np.nan
    residuals = rim_residuals(od, yx, sim, average=4)
    np.testing.assert_array_equal(np.isfinite(residuals), [True, False, True])
    assert compare_maps(od, yx, sim, average=4).n == 2
