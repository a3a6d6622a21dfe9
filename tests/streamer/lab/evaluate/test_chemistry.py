"""Errors of fractions and edges against a truth that is known."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from operando.streamer.core.xanes import XanesSettings
from operando.streamer.lab.evaluate.accuracy import score_chemistry, telling_frame
from operando.streamer.lab.simulate import SimSettings, Simulator
from operando.streamer.lab.simulate.spectra import OXIDISED, REDUCED, absorption

TRUTH = Simulator(SimSettings(shape=(200, 200), n_particles=2, radius_px=(12, 16))).truth


def tables(errors, frames=range(143)):
    e = TRUTH.energies
    telling = (absorption(e, REDUCED) - absorption(e, OXIDISED)) ** 2
    shares = (TRUTH.fraction * telling[:, None]).sum(axis=0) / telling.sum()
    spectra, places = [], []
    for particle, (true, error) in errors.items():
        for frame in frames:
            y, x = TRUTH.yx[frame, true] + 0.1
            places.append({"particle": particle, "frame": frame, "y": y, "x": x})
            told = shares[true] + error
            common = {"fraction_sigma": 0.01, "edge_energy": 8341.0, "edge_energy_sigma": 0.1}
            spectra.append({"particle": particle, "frame": frame, "n_energies": 143, **common,
                            "fraction": told})  # fmt: skip
    return pd.DataFrame(spectra), pd.DataFrame(places)


def test_particles_are_told_apart_and_errors_are_those_that_were_put_in():
    scores = score_chemistry(*tables({4: (1, 0.03), 9: (0, -0.02)}), TRUTH, XanesSettings())
    assert list(scores["particle"]) == [4, 9]
    assert list(scores["true"]) == [1, 0]
    np.testing.assert_allclose(scores["fraction_error"], [0.03, -0.02])
    assert (scores["edge_error"].abs() < 1.0).all()
    assert scores["radius"].iloc[0] == TRUTH.radius[1]


def test_the_true_fraction_is_that_while_the_edge_is_crossed():
    scores = score_chemistry(*tables({4: (1, 0.0)}), TRUTH, XanesSettings())
    crossing = (TRUTH.energies > 8338) & (TRUTH.energies < 8352)
    low, high = TRUTH.fraction[crossing, 1].min(), TRUTH.fraction[crossing, 1].max()
    assert high - low > 0.03
    assert low < scores["true_fraction"].iloc[0] < high


def test_the_energy_that_tells_most_is_on_the_edge():
    assert TRUTH.energies[telling_frame(TRUTH.energies)] == pytest.approx(8344, abs=3)


def test_specks_and_what_is_not_there_are_left_out():
    spectra, places = tables({4: (1, 0.0)})
    short = score_chemistry(spectra[spectra["frame"] < 60], places, TRUTH, XanesSettings())
    assert short.empty
    far = places.assign(y=places["y"] + 40.0)
    assert score_chemistry(spectra, far, TRUTH, XanesSettings()).empty
