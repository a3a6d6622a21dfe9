"""Errors of spectra against the truth of the simulator."""

from __future__ import annotations

import numpy as np
import pandas as pd

from ....models.arrays import Array
from ...core.xanes.curve import find_edges, make_operators
from ...core.xanes.settings import XanesSettings
from ..simulate.spectra import OXIDISED, REDUCED, absorption
from ..simulate.truth import Truth

_LARGEST_DISTANCE_PX = 5.0  # by eye
_FEWEST_FRAMES = 0.5


def score_chemistry(
    spectra: pd.DataFrame, particles: pd.DataFrame, truth: Truth, settings: XanesSettings
) -> pd.DataFrame:
    """Judge the fraction and the edge of each particle that was followed over half of the frames.

    A scan takes time, and the truth changes meanwhile: a fraction is compared with the mean of the
    truth in which each frame counts by how well its energy tells the two phases apart (the square
    of their difference, as in a fit), an edge with that of the true spectrum, read off as ours is.

    Parameters
    ----------
    spectra, particles : rows of these streams of one run. truth : of its frames.

    Returns
    -------
    A row for each particle: `particle`, `true`, `radius` px, `n_energies`, `fraction`,
    `true_fraction`, `fraction_error`, `fraction_sigma`, `edge_error` eV, `edge_sigma` eV.
    """
    newest = _newest(spectra)
    places = _newest(particles)
    edges = _true_edges(truth, settings)
    telling = _difference(truth.energies) ** 2
    rows = []
    for particle in np.unique(newest["particle"]).tolist():
        spectrum = newest.loc[newest["particle"] == particle]
        own = places.loc[(places["particle"] == particle) & places["y"].notna()]
        true = _match(own, truth)
        if true is None or len(spectrum) < _FEWEST_FRAMES * truth.n_frames:
            continue
        last, share = spectrum.iloc[-1], float(np.average(truth.fraction[:, true], weights=telling))
        rows.append(
            {
                "particle": particle,
                "true": true,
                "radius": float(truth.radius[true]),
                "n_energies": int(last["n_energies"]),
                "fraction": float(last["fraction"]),
                "true_fraction": share,
                "fraction_error": float(last["fraction"]) - share,
                "fraction_sigma": float(last["fraction_sigma"]),
                "edge_error": float(last["edge_energy"] - edges[true]),
                "edge_sigma": float(last["edge_energy_sigma"]),
            }
        )
    return pd.DataFrame(rows)


def telling_frame(energies: Array) -> int:
    """Find the frame whose energy tells the two phases apart best."""
    return int(np.argmax(np.abs(_difference(energies))))


def _difference(energies: Array) -> Array:
    return absorption(energies, REDUCED) - absorption(energies, OXIDISED)


def _newest(rows: pd.DataFrame) -> pd.DataFrame:
    """Keep the last row of each particle and frame."""
    last = rows.drop_duplicates(["particle", "frame"], keep="last")
    return last.sort_values("frame", kind="stable")


def _true_edges(truth: Truth, settings: XanesSettings) -> Array:
    """Find edge energies (P,) of spectra without noise, eV; NaN if they do not span the edge."""
    near = float(truth.energies[telling_frame(truth.energies)])
    operators = make_operators(truth.energies, near, settings)
    if operators is None:
        return np.full(truth.n_particles, np.nan)
    first = find_edges(operators, truth.od, 0.0)
    again = make_operators(truth.energies, float(np.nanmedian(first.energy)), settings)
    return first.energy if again is None else find_edges(again, truth.od, 0.0).energy


def _match(own: pd.DataFrame, truth: Truth) -> int | None:
    """Find the true particle that is nearest in the median."""
    if own.empty:
        return None
    offset = own[["y", "x"]].to_numpy()[:, None] - truth.yx[own["frame"].to_numpy()]
    distance = np.nanmedian(np.linalg.norm(offset, axis=2), axis=0)
    nearest = int(np.argmin(distance))
    return nearest if distance[nearest] <= _LARGEST_DISTANCE_PX else None
