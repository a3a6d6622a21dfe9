"""Spectra against the physics they stand for, and against measured ones."""

from __future__ import annotations

import numpy as np
import pytest

from operando.streamer.lab.simulate import EDGE_REGION, ni_edge_energies
from operando.streamer.lab.simulate.spectra import OXIDISED, REDUCED, absorption


@pytest.mark.parametrize("n", [1, 2, 3, 10, 62, 143, 500])
def test_energy_lists_increase_and_have_the_wanted_length(n):
    energies = np.array(ni_edge_energies(n))
    assert len(energies) == n
    assert (np.diff(energies) > 0).all()


def test_a_scan_is_dense_over_the_edge():
    energies = np.array(ni_edge_energies(143))
    low, high = EDGE_REGION
    assert np.diff(energies[(energies > low) & (energies < high)]).max() < 1.0
    assert np.diff(energies[energies < low - 20]).min() > 3.0


def test_the_charged_state_lies_higher():
    energy = np.arange(8330.0, 8360.0, 0.05)
    half = [energy[np.argmax(absorption(energy, s) > 0.6)] for s in (REDUCED, OXIDISED)]
    assert 1.5 <= half[1] - half[0] <= 2.2


@pytest.mark.data
@pytest.mark.parametrize(("name", "shape"), [("NiO", REDUCED), ("LiNiO2", OXIDISED)])
def test_spectra_resemble_measured_references(shared_data, name, shape):
    energy, mu = np.loadtxt(shared_data / "xanes-references" / "pyxas" / f"ref_{name}.txt").T
    energy = energy * 1000 if energy.max() < 100 else energy
    window = (energy > 8300) & (energy < 8400)
    ours = absorption(energy[window], shape)
    assert np.corrcoef(ours, mu[window])[0, 1] > 0.96
