"""Spectra, edges and maps of simulated mixtures, against what they were made of."""

from __future__ import annotations

import numpy as np
import pytest

from operando.streamer.core import xanes
from operando.streamer.core.xanes.curve import find_edges, make_operators
from operando.streamer.lab.simulate.spectra import OXIDISED, REDUCED, absorption, ni_edge_energies

from .conftest import SETTINGS, Scene
from .test_incremental import run


@pytest.fixture(scope="module")
def scene():
    return Scene(energies=ni_edge_energies(143))


@pytest.fixture(scope="module")
def done(scene, basis):
    state, told = run(scene.results(), basis)
    return state, told, xanes.finish(state, basis, SETTINGS)


def newest(rows, particle):
    return [r for r in rows if r.particle == particle][-1]


def test_fractions_of_particles(scene, done):
    for particle, (low, high) in scene.fractions.items():
        row = newest(done[2].spectra, particle)
        assert row.n_energies == 143
        assert row.fraction == pytest.approx((low + high) / 2, abs=0.01)
        assert 0 < row.fraction_sigma < 0.005


def test_fractions_of_pixels_and_their_errors(scene, done):
    for item in done[2].maps:
        inside = scene.disc & np.isfinite(item.fraction)
        assert inside.sum() == scene.disc.sum()
        error = (item.fraction - scene.share(item.particle))[inside]
        assert np.sqrt(np.mean(error**2)) < 0.05
        assert np.std(error / item.fraction_sigma[inside]) == pytest.approx(1.0, abs=0.2)
        assert np.isnan(item.fraction).any()


def test_edges_and_white_lines(scene, done):
    energies = np.array(scene.energies)
    for particle, (low, high) in scene.fractions.items():
        share = (low + high) / 2
        fine = np.arange(8150.0, 8590.0, 0.25)
        truth = (1 - share) * absorption(fine, REDUCED) + share * absorption(fine, OXIDISED)
        curve = make_operators(fine, 8341.0, SETTINGS)
        wanted = find_edges(curve, truth[:, None], 0.0)
        row = newest(done[2].spectra, particle)
        assert row.edge_energy == pytest.approx(wanted.energy[0], abs=0.1)
        assert abs(row.edge_energy - wanted.energy[0]) < 0.03 + 4 * row.edge_energy_sigma
        assert row.edge_inflection == pytest.approx(wanted.inflection[0], abs=0.5)
        assert row.white_line == pytest.approx(wanted.white_line[0], abs=0.15)
        assert row.white_line_height == pytest.approx(wanted.white_height[0], abs=0.05)
    assert energies.max() > 8500


def test_pixels_have_edges_of_their_own(scene, done):
    item = next(item for item in done[2].maps if item.particle == 3)
    columns = [np.nanmean(item.edge_energy[:, part]) for part in (slice(12, 20), slice(28, 36))]
    assert columns[1] - columns[0] > 0.05  # more oxidised to the right
    assert np.nanmedian(item.white_line) == pytest.approx(8348.3, abs=0.5)
    assert np.nanmedian(item.edge_step[scene.disc]) == pytest.approx(0.8, abs=0.1)


def test_live_rows_know_more_and_more(scene, done):
    rows = [r for told in done[1] for r in told.spectra if r.particle == 8]
    assert [r.frame for r in rows] == list(range(143))
    sigmas = np.array([r.fraction_sigma for r in rows])
    assert np.isnan(sigmas[:3]).all()
    assert sigmas[-1] < 0.5 * np.nanmax(sigmas)
    enough = np.array([r.enough for r in rows])
    first = int(np.argmax(enough))
    assert 20 < first < 120
    assert abs(rows[first].fraction - 0.7) < 4 * SETTINGS.enough_sigma
    assert np.isnan(rows[40].edge_energy)  # nothing above the edge yet
    assert np.isfinite(rows[-1].edge_energy)


def test_maps_come_while_energies_do(scene, done):
    counts = [item.n_energies for told in done[1] for item in told.maps if item.particle == 3]
    assert len(counts) >= 8
    assert np.diff(counts).min() >= SETTINGS.soonest
    assert np.diff(counts).max() <= SETTINGS.every + 1
    assert [item.revision for t in done[1] for item in t.maps if item.particle == 3] == list(
        range(len(counts))
    )
    assert all(item.final for item in done[2].maps)
    assert {item.revision for item in done[2].maps if item.particle == 3} == {len(counts)}


def test_without_references_there_are_spectra_and_edges(scene, done, bare_basis):
    state, _ = run(scene.results(), bare_basis)
    end = xanes.finish(state, bare_basis, SETTINGS)
    for particle in scene.fractions:
        row, other = newest(end.spectra, particle), newest(done[2].spectra, particle)
        assert np.isnan(row.fraction)
        assert not row.enough
        assert row.edge_energy == pytest.approx(other.edge_energy, abs=0.1)
        assert row.white_line == pytest.approx(other.white_line, abs=0.1)
    assert len(end.maps) == 2
    for item in end.maps:
        assert np.isnan(item.fraction).all()
        assert np.isfinite(item.edge_energy[scene.disc]).mean() > 0.97


def test_large_rois_are_binned_and_told_at_their_size(basis):
    scene = Scene(side=49, radius=16.0)
    settings = SETTINGS.model_copy(update={"map_px": 25})
    state, _ = run(scene.results(), basis, settings)
    assert (state.binning, state.frames[0].images.shape) == (2, (2, 24, 24))
    item = xanes.finish(state, basis, settings).maps[0]
    assert item.fraction.shape == (49, 49)
    assert np.isnan(item.fraction[48]).all()
    inside = scene.disc & np.isfinite(item.fraction)
    assert inside.sum() > 0.9 * scene.disc.sum()
    error = item.fraction[inside] - scene.share(3)[inside]
    assert np.sqrt(np.mean(error**2)) < 0.05


def test_a_neighbour_in_the_window_is_no_part_of_the_particle(basis):
    def beside(frame):
        mu = absorption(ni_edge_energies(60)[frame], OXIDISED).astype(np.float32)

        def change(image):
            out = image.copy()
            out[:, 43:] += mu
            return out

        return change

    scene = Scene(fractions={8: (0.1, 0.1)}, changes={(f, 8): beside(f) for f in range(60)})
    state, _ = run(scene.results(), basis)
    assert not state.particles[8].mask[:, 43:].any()
    row = newest(xanes.finish(state, basis, SETTINGS).spectra, 8)
    assert row.fraction == pytest.approx(0.1, abs=0.02)
