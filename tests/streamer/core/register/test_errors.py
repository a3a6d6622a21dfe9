"""Errors that are told against errors that are made, on simulated motion."""

from __future__ import annotations

import numpy as np
import pytest

SEEDS = range(6)
# motion that an affine field and errors of positions explain wholly
RIGID = {"wander_px": 0.0, "spin_deg": 0.0}
STILL = {**RIGID, "strain": (0.0, 0.0, 0.0), "rotation_deg": 0.0}


def rms(values, axis=None):
    return np.sqrt(np.mean(np.square(values), axis=axis))


def steps_of_drift(runs):
    """Errors of the drift from frame to frame, and what its sigma makes of them.

    What drifts slowly together with the mean deformation is a matter of the gauge; from one frame
    to the next it is next to nothing.
    """
    errors, sigmas = [], []
    for run in runs:
        error = np.array([f.drift for f in run.fields]) - run.truth.shift
        sigma = np.array([f.sigma for f in run.fields])
        errors.append(np.diff(error, axis=0)[3:])
        sigmas.append(np.hypot(sigma[1:], sigma[:-1])[3:])
    return np.concatenate(errors), np.concatenate(sigmas)


def test_drift_sigma_is_the_error_of_the_drift_where_noise_rules(followed):
    errors, sigmas = steps_of_drift(followed(s, n_energies=40, **STILL) for s in SEEDS)
    ratio = rms(errors / sigmas, axis=0)
    assert np.all((ratio > 0.8) & (ratio < 1.15)), ratio


def test_drift_sigma_with_own_motion_missing_and_wrong_positions(followed):
    errors, sigmas = steps_of_drift(
        followed(s, n_energies=60, missing=0.1, wrong=0.03) for s in SEEDS
    )
    ratio = rms(errors / sigmas, axis=0)
    assert np.all((ratio > 0.6) & (ratio < 1.2)), ratio
    # as good as the nine positions allow; a plain mean of what is there errs by pixels
    assert rms(errors) < 0.09


def test_drift_sigma_grows_where_particles_step_on_their_own(followed):
    calm = followed(1, n_energies=40, **STILL).fields[-1].sigma
    restless = followed(1, n_energies=40, wander_px=30.0).fields[-1].sigma
    assert np.all(restless > 1.5 * calm)


@pytest.mark.parametrize("changes", [RIGID, {}], ids=["rigid", "own motion"])
def test_strain_and_rotation_are_within_their_sigmas(followed, changes):
    scaled = []
    for seed in range(16):
        run = followed(seed, n_energies=12, **changes)
        affine, truth = run.fields[-1].affine, run.truth.strain[-1]
        strain = (np.array(affine.strain) - truth[:3]) / affine.strain_sigma
        # the simulator turns x towards y, the results turn y towards x
        scaled.append([*strain, (affine.rotation + truth[3]) / affine.rotation_sigma])
    # 64 errors that are nearly normal, of which the sigma is known to a quarter
    assert 0.65 < rms(scaled) < 1.4, rms(scaled, axis=0)


def test_own_motion_is_the_larger_part_of_the_error_of_strain(followed):
    own = followed(2, n_energies=12).fields[-1].affine
    rigid = followed(2, n_energies=12, **RIGID).fields[-1].affine
    assert max(own.strain_sigma) > 3 * max(rigid.strain_sigma)
    assert own.noise_share < 0.3 < rigid.noise_share


def test_residuals_have_no_drift_and_no_strain(followed):
    scaled = []
    for seed in range(12):
        for moved in followed(seed, n_energies=12, **RIGID).fields[-1].moved:
            scaled.append(moved.residual / moved.sigma)
    # twice the variance, as the reference has errors as well; six of eighteen numbers are fitted
    assert rms(scaled) == pytest.approx(np.sqrt(2 * 12 / 18), rel=0.15)


def test_velocity_errors_are_those_that_are_told(followed):
    scaled = []
    for seed in SEEDS:
        run = followed(seed, n_energies=25)
        exact = followed(seed, n_energies=25, sigma=1e-9)
        for frame in range(6, 25, 5):
            pairs = zip(run.fields[frame].moved, exact.fields[frame].moved, strict=True)
            for noisy, true in pairs:
                error = noisy.rates.velocity - true.rates.velocity
                scaled.append(error / noisy.rates.velocity_sigma)
                error = noisy.rates.acceleration - true.rates.acceleration
                scaled.append(error / noisy.rates.acceleration_sigma)
    assert 0.85 < rms(scaled) < 1.2
