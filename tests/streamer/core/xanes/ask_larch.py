"""Asks xraylarch, the usual program for such spectra, what it reads off some.

    python ask_larch.py XASDATALIBRARY > larch_answers.json

`larch_answers.json` is what xraylarch said of measured spectra of the XAS data library (public
domain, github.com/XraySpectroscopy/XASDataLibrary), which are in it, thinned out, so that the tests
need neither the program nor the library. Where xraylarch is installed, `test_larch.py` asks anew.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

SPECTRA = {
    "reduced": "Ni/NiOH2_rt_01.xdi",
    "oxidised": "Ni/Ni2O3_rt_01.xdi",
    "unknown": "Ni/Ni2O3_rt_03.xdi",
    "metal": "Ni/Ni_metal_rt_01.xdi",
}
WINDOW = (8305.0, 8400.0)
NEAR = (8180.0, 8560.0)


def answers(spectra: dict[str, tuple[np.ndarray, np.ndarray]]) -> dict[str, Any]:
    """What xraylarch says: normalisation, edges, and a fit with a straight background."""
    import larch
    from larch import Group
    from larch.math import lincombo_fit
    from larch.xafs import pre_edge

    told: dict[str, Any] = {"larch": larch.__version__}
    groups = {}
    for name, (energy, mu) in spectra.items():
        group = Group(energy=energy.copy(), mu=mu.copy(), filename=name)
        pre_edge(group, e0=8342.0, pre1=-1000, pre2=-15, norm1=25, norm2=1000, nnorm=1, nvict=0)
        rise = np.flatnonzero((group.norm[:-1] < 0.5) & (group.norm[1:] >= 0.5))[-1]
        near = slice(rise, rise + 2)
        told[name] = {
            "edge_step": float(group.edge_step),
            "half": float(np.interp(0.5, group.norm[near], energy[near])),
        }
        groups[name] = group
    energy = groups["unknown"].energy
    parts = [groups["reduced"], groups["oxidised"]]
    for name, shape in (("one", np.ones_like(energy)), ("slope", (energy - 8342.0) / 200.0)):
        parts.append(Group(energy=energy, norm=shape, filename=name))
    fit = lincombo_fit(
        groups["unknown"],
        parts,
        weights=[0.4, 0.4, 0.01, 0.01],
        minvals=[-2] * 4,
        maxvals=[3] * 4,
        arrayname="norm",
        xmin=WINDOW[0],
        xmax=WINDOW[1],
        sum_to_one=False,
    )
    told["fit"] = {name: float(weight) for name, weight in fit.weights.items()}
    return told


def thinned(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """A spectrum near the edge, as ln(i0 / itrans), five digits."""
    table = np.loadtxt(path, comments="#")
    energy, mu = table[:, 0], np.log(table[:, 1] / table[:, 2])
    chosen = (energy >= NEAR[0]) & (energy <= NEAR[1])
    return energy[chosen].round(3), mu[chosen].round(5)


def main() -> None:
    """Print spectra and answers."""
    library = Path(sys.argv[1])
    spectra = {name: thinned(library / path) for name, path in SPECTRA.items()}
    content = {
        "source": SPECTRA,
        "spectra": {n: {"energy": e.tolist(), "mu": m.tolist()} for n, (e, m) in spectra.items()},
        "answers": answers(spectra),
    }
    json.dump(content, sys.stdout)


if __name__ == "__main__":
    main()
