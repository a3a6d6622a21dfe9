"""Fractions that change while they are measured, and errors that are not those of counting."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from operando.streamer.core import xanes
from operando.streamer.core.xanes.fit import mean_fractions
from operando.streamer.lab.simulate.spectra import OXIDISED, REDUCED, absorption, ni_edge_energies

from .conftest import SETTINGS, Scene
from .test_incremental import run

ENERGIES = np.array(ni_edge_energies(143))
TIME = 4.2 * np.arange(143.0)
PIXELS = 2000.0
NOISE = 0.02


def spectra(shares, count, drift=0.0, seed=0):
    """Mean spectra (n, P) with counting noise and a background that wanders."""
    rng = np.random.default_rng(seed)
    mu = (1 - shares) * absorption(ENERGIES, REDUCED) + shares * absorption(ENERGIES, OXIDISED)
    wander = np.zeros((len(ENERGIES), count))
    for i in range(1, len(wander)):
        wander[i] = 0.8 * wander[i - 1] + 0.6 * drift * rng.standard_normal(count)
    noise = NOISE / np.sqrt(PIXELS) * rng.standard_normal(wander.shape)
    return mu[:, None] + wander + noise


def fractions(od, basis, n=143, time=TIME):
    rows = basis.rows(ENERGIES[:n])
    weight = np.full((n, od.shape[1]), (0.01 / NOISE) ** 2)
    return mean_fractions(rows, weight, od[:n], np.full(od.shape[1], PIXELS), time[:n])


def telling_mean(shares, n=143):
    telling = (absorption(ENERGIES, OXIDISED) - absorption(ENERGIES, REDUCED)) ** 2
    return np.average(shares[:n], weights=telling[:n])


def test_a_fraction_that_changes_is_that_of_the_moment_of_the_edge(basis):
    shares = np.linspace(0.25, 0.60, 143)
    od = spectra(shares, 40)
    told = fractions(od, basis)
    wanted = telling_mean(shares)
    assert abs(told.fraction.mean() - wanted) < 0.003
    assert np.abs(told.fraction - wanted).max() < 0.006
    assert abs(wanted - shares.mean()) > 0.01  # it is no other moment
    # half-way over the edge a fit that knows one fraction alone is far off
    known, alone = (fractions(od, basis, 70, time).fraction for time in (TIME, 0 * TIME))
    assert abs(known.mean() - telling_mean(shares, 70)) < 0.005
    assert abs(alone.mean() - telling_mean(shares, 70)) > 0.01


def test_a_fraction_that_stands_still_is_told_as_well_as_ever(basis):
    od = spectra(np.full(143, 0.4), 200)
    told = fractions(od, basis)
    assert abs(told.fraction.mean() - 0.4) < 0.003  # references that are normalised
    assert told.fraction.std() == pytest.approx(told.sigma.mean(), rel=0.35)
    known, alone = (fractions(od, basis, 70, time).fraction for time in (TIME, 0 * TIME))
    assert known.std() < 1.1 * alone.std()


@pytest.mark.parametrize("n", [85, 110, 143])
def test_errors_know_of_what_moves_slowly_beneath(basis, n):
    told = fractions(spectra(np.full(143, 0.4), 200, drift=0.004), basis, n)
    error = np.std(told.fraction - 0.4)
    assert error > 0.002
    assert 0.6 < error / np.median(told.sigma) < 1.5


def test_particles_are_told_apart_from_each_other(basis):
    """One that changes and one that does not, in the same frames."""
    both = np.hstack([spectra(np.linspace(0.2, 0.6, 143), 1), spectra(np.full(143, 0.4), 1)])
    together = fractions(both, basis)
    for column in (0, 1):
        alone = fractions(both[:, [column]], basis)
        assert together.fraction[column] == pytest.approx(alone.fraction[0], abs=1e-9)
        assert together.sigma[column] == pytest.approx(alone.sigma[0], rel=1e-6)


def test_maps_say_how_much_of_them_may_be_the_background_beneath(basis):
    """A particle that has moved over a background with structure while the edge was crossed."""
    scene = Scene(energies=ni_edge_energies(143))
    field = gaussian_filter(np.random.default_rng(5).standard_normal((48, 48)), 1.5)
    field = (0.04 * field / field.std()).astype(np.float32)
    moved = np.roll(field, 3, axis=0)

    def over(part):
        return lambda image: image + part

    changes = {(f, 3): over(field if e < 8345 else moved) for f, e in enumerate(scene.energies)}
    restless = Scene(energies=scene.energies, changes=changes)
    for sample, told_sigma in ((scene, (0.01, 0.03)), (restless, (0.04, 0.1))):
        state, _ = run(sample.results(), basis)
        item = next(m for m in xanes.finish(state, basis, SETTINGS).maps if m.particle == 3)
        inside = sample.disc & np.isfinite(item.fraction)
        error = (item.fraction - sample.share(3))[inside]
        assert told_sigma[0] < np.median(item.fraction_sigma[inside]) < told_sigma[1]
        assert 0.6 < np.std(error / item.fraction_sigma[inside]) < 1.5
