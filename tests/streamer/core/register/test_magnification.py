from __future__ import annotations

import numpy as np
import pytest

from operando.streamer.core.register import deformation
from operando.streamer.core.register.deformation import scale_between
from operando.streamer.core.register.settings import RegisterSettings

PER_EV = -1.2e-4
# the strain of a whole scan in the two minutes that 30 energies take
HURRIED = RegisterSettings(strain_walk=0.006)
KNOWN = RegisterSettings(magnification_per_ev=PER_EV)
STILL = {"strain": (0.0, 0.0, 0.0), "rotation_deg": 0.0, "wander_px": 0.0}


def rms(values):
    return float(np.sqrt(np.mean(np.square(values))))


def slopes(followed, seeds, **changes):
    runs = [followed(s, magnification_per_ev=PER_EV, **changes) for s in seeds]
    found = np.array([deformation.slope(run.state.magnification) for run in runs])
    return found[:, 0], found[:, 1], runs


def test_an_unknown_magnification_is_found_within_its_sigma(followed):
    slope, sigma, runs = slopes(followed, range(8), n_energies=30, settings=HURRIED)
    # strain and own motion advance with the energy, by what they are expected to at most
    assert rms((slope - PER_EV) / sigma) < 1.8
    assert np.all(sigma < 0.1 * abs(PER_EV))
    for run in runs:
        told = [f.magnification for f in run.fields]
        assert not any(m.known for m in told)
        assert told[0].value == pytest.approx(1.0)
        assert told[-1].sigma == pytest.approx(
            deformation.slope(run.state.magnification)[1]
            * (run.truth.energies[-1] - run.truth.energies[0])
        )


def test_repeats_of_an_energy_tell_it_from_strain(followed):
    slope, sigma, _ = slopes(followed, range(4), n_energies=20, scans=3)
    _, once, _ = slopes(followed, range(4), n_energies=20)
    assert np.all(sigma < 0.7 * once)
    assert rms((slope - PER_EV) / sigma) < 1.8


def test_strain_that_advances_with_the_energy_is_in_the_sigma(followed):
    """Isotropic strain passes for magnification; the sigma is as large as what is allowed of it."""
    cautious = RegisterSettings(strain_walk=0.02)
    loose = followed(0, n_energies=30, settings=cautious, **STILL).state.magnification
    sure = followed(0, n_energies=30, **STILL).state.magnification
    assert deformation.slope(loose)[1] > 3 * deformation.slope(sure)[1]


def test_a_known_magnification_is_divided_out_of_drift_and_strain(followed):
    scaled, drifts = [], []
    for seed in range(8):
        run = followed(seed, n_energies=12, magnification_per_ev=PER_EV, settings=KNOWN)
        affine, truth = run.fields[-1].affine, run.truth
        scaled.append((np.array(affine.strain) - truth.strain[-1, :3]) / affine.strain_sigma)
        told = [f.magnification for f in run.fields]
        np.testing.assert_allclose([m.value for m in told], truth.magnification, rtol=1e-12)
        assert {m.sigma for m in told} == {0.0}
        drifts.append(run.fields[-1].drift - truth.shift[-1] / truth.magnification[-1])
    assert 0.6 < rms(scaled) < 1.5
    unknown = followed(0, n_energies=12, magnification_per_ev=PER_EV).fields[-1].affine
    assert unknown.dilation[0] == pytest.approx(run.truth.magnification[-1] - 1, abs=0.012)
    assert rms(drifts) < 1.5  # the mean of own motions, no scale in it


def test_positions_stay_those_of_the_image(followed):
    known = followed(3, n_energies=8, magnification_per_ev=PER_EV, settings=KNOWN)
    for field in known.fields:
        reference = np.array([m.reference_yx for m in field.moved])
        residual = np.array([m.residual for m in field.moved])
        there = reference + field.drift + residual
        if field.affine.fitted:
            there = there + field.affine.at(reference)
        yx = np.array([m.yx for m in field.moved])
        np.testing.assert_allclose(field.view.to_image(there), yx, atol=1e-9)
    moved = known.fields[-1].moved[0]
    first = known.fields[0].moved[0]
    np.testing.assert_allclose(moved.displacement, moved.yx - first.yx, atol=1e-9)


def test_the_profile_names_energy_and_axis(followed):
    settings = RegisterSettings(
        magnification_per_ev=PER_EV, magnification_energy=8400.0, optical_axis_yx=(10.0, 20.0)
    )
    run = followed(0, n_energies=5, magnification_per_ev=PER_EV, settings=settings)
    for energy, field in zip(run.truth.energies, run.fields, strict=True):
        assert field.view.scale == pytest.approx(1 + PER_EV * (energy - 8400.0))
        np.testing.assert_allclose(field.view.to_image(np.array([10.0, 20.0])), (10.0, 20.0))


def test_a_frame_without_energy_has_no_magnification():
    state = deformation.init_magnification()
    state, view = deformation.view_of(state, None, (100, 100), KNOWN)
    assert view.scale == 1.0
    assert np.isnan(state.reference)
    state, view = deformation.view_of(state, 8300.0, (100, 100), KNOWN)
    assert state.reference == 8300.0
    assert view.axis_yx == (49.5, 49.5)


def test_scale_between_two_images():
    rng = np.random.default_rng(1)
    before = rng.uniform(50, 950, (12, 2))
    sigma = np.full((12, 2), 0.3)
    found = []
    for _ in range(200):
        after = 500 + (before - 500) * 0.9969 + (20.1, 10.0) + rng.normal(0, 0.3, (12, 2))
        after[0] += (9.0, -4.0)  # one is mistaken
        found.append(scale_between(before, after, sigma))
    values, sigmas = np.array(found).T
    assert values.mean() == pytest.approx(0.9969, abs=1e-4)
    assert values.std() == pytest.approx(sigmas.mean(), rel=0.25)
    few = scale_between(before[:3], before[:3], sigma[:3])
    assert np.isnan(few).all()
