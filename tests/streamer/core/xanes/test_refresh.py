"""Maps are told again when more is known, not by the clock."""

from __future__ import annotations

import numpy as np
import pytest

from operando.streamer.core.xanes import XanesSettings
from operando.streamer.lab.simulate.spectra import ni_edge_energies

from .conftest import SETTINGS, Scene
from .test_incremental import run

SCENE = Scene(energies=ni_edge_energies(143), noise=0.1)


def told(basis, **changes):
    """Of particle 3: number of energies when its maps were told, and its rows by that number."""
    settings = SETTINGS.model_copy(update={"every": 1000, **changes})
    _, history = run(SCENE.results(), basis, settings)
    counts = [item.n_energies for t in history for item in t.maps if item.particle == 3]
    rows = {row.n_energies: row for t in history for row in t.spectra if row.particle == 3}
    return counts, rows


def test_maps_are_told_when_the_fraction_is_known_better_or_the_edge_at_all(basis):
    counts, rows = told(basis)
    assert len(counts) >= 4
    sigmas = [rows[n].fraction_sigma for n in counts]
    assert sigmas[0] <= 0.1
    assert rows[counts[0] - 2].fraction_sigma > 0.1  # and at once; two particles take turns
    edges = [np.isfinite(rows[n].edge_energy) for n in counts]
    for i in range(1, len(counts)):
        assert 2 * sigmas[i] <= sigmas[i - 1] or edges[i] > edges[i - 1]
    assert edges[-1]
    assert max(counts) < 120  # above the edge hardly anything is learned


def test_a_smaller_gain_tells_more_often_but_not_all_the_time(basis):
    often, _ = told(basis, gain=1.1)
    seldom, _ = told(basis, gain=4.0)
    assert len(often) > len(seldom)
    assert np.diff(often).min() == XanesSettings().soonest
    rare, _ = told(basis, gain=1.1, soonest=9)
    assert np.diff(rare).min() >= 9


def test_maps_are_told_after_some_energies_in_any_case(basis):
    counts, _ = told(basis, gain=1e9, every=12)
    assert len(counts) > 4
    assert np.diff(counts).max() <= 13  # two particles take turns


def test_without_references_the_edge_is_waited_for(bare_basis):
    counts, rows = told(bare_basis, every=20)
    first = next(n for n, row in sorted(rows.items()) if np.isfinite(row.edge_energy))
    assert first <= counts[0] <= first + 1
    assert np.diff(counts) == pytest.approx(20, abs=1)
