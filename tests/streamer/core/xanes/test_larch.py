"""Edges and fits against those of xraylarch; see `ask_larch.py`."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from operando.streamer.core.xanes import PhaseReference, XanesSettings, make_basis
from operando.streamer.core.xanes.curve import edge_line, find_edges, make_operators
from operando.streamer.core.xanes.fit import inverse
from operando.streamer.core.xanes.state import ROW, fixed_rows

from . import ask_larch

STORED = json.loads((Path(__file__).parent / "larch_answers.json").read_text())
SPECTRA = {
    name: (np.array(item["energy"]), np.array(item["mu"]))
    for name, item in STORED["spectra"].items()
}
EDGE = 8342.0


@pytest.fixture(params=["stored", "asked"])
def answers(request):
    if request.param == "stored":
        return STORED["answers"]
    pytest.importorskip("larch")
    return ask_larch.answers(SPECTRA)


@pytest.mark.parametrize("name", SPECTRA)
def test_edge_step_and_edge(answers, name):
    energy, mu = SPECTRA[name]
    settings = XanesSettings(smooth=0.5)
    curve = make_operators(energy, EDGE, settings)
    edges = find_edges(curve, mu[:, None], 0.0)
    assert edges.step[0] == pytest.approx(answers[name]["edge_step"], rel=3e-3)
    assert edges.energy[0] == pytest.approx(answers[name]["half"], abs=0.1)


def test_linear_combination(answers):
    settings = XanesSettings(normalise_references=False, window=ask_larch.WINDOW)
    normal = {}
    for name, (energy, mu) in SPECTRA.items():
        curve = make_operators(energy, EDGE, settings)
        line = edge_line(energy, EDGE, -settings.pre_edge, energy) @ mu
        normal[name] = (mu - line) / (curve.step @ mu)
    phases = tuple(
        PhaseReference(name=name, energy=SPECTRA[name][0], mu=normal[name], edge=EDGE)
        for name in ("reduced", "oxidised")
    )
    basis = make_basis(settings, phases)
    rows = basis.rows(SPECTRA["unknown"][0])
    weighted = fixed_rows(rows, np.ones(len(rows)))
    right = (weighted.T * ROW) @ normal["unknown"][:, None]
    one, slope, reduced, oxidised = (inverse((weighted.T * ROW) @ rows) @ right)[:, 0]
    told = answers["fit"]
    assert reduced == pytest.approx(told["reduced"], abs=2e-3)
    assert oxidised == pytest.approx(told["oxidised"], abs=2e-3)
    assert one == pytest.approx(told["one"], abs=2e-3)
    assert slope == pytest.approx(told["slope"], abs=2e-3)
