"""Errors of results against the truth of the simulator.

A position error is the distance in the plane, px; its rms is the root of the mean squared
distance, not per axis. Where a particle's reference point lies within it is a convention (the
centre of a mask, of its rim, of its absorption), so that errors are reported twice: as they are
(`raw`), and with one constant offset per true particle removed. Steps over the edge and everything
else that varies with the frame stay in both.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ....models.arrays import Array
from ...core.xanes.curve import find_edges, make_operators
from ...core.xanes.settings import XanesSettings
from ..simulate.spectra import OXIDISED, REDUCED, absorption
from ..simulate.truth import Truth
from .matching import (
    MEASURED,
    Matches,
    Revision,
    count_gaps,
    count_switches,
    match_rows,
    position_errors,
    usable_rows,
    where,
    within_sides,
)

_REGIONS = ("below", "at", "above")


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """Distances of n measured positions from the truth, px (NaN if there are none)."""

    n: int
    rms: float
    median: float
    p95: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """Errors of results over a series.

    Attributes
    ----------
    overall, raw : position errors without and with the constant offset of each particle.
    regions : errors without the offset ``below``, ``at`` and ``above`` the edge.
    within : errors ``below`` and ``above`` the edge with an offset removed on either side by
        itself: what is left when the step over the edge does not matter.
    step : rms over the particles of the jump of their mean error from below to above, px.
    common : rms over the frames of the error that all particles share, px.
    recall : share of the instances of wholly visible true particles that were measured.
    recall_coasting : the same, predictions included.
    precision : share of measured positions that lie on a true particle.
    false_tracks : identities that were once ``tracked`` and mostly lie on no true particle.
    switches : changes of the identity that explains a true particle.
    fragmentations : interruptions of a true particle's trajectory while it was visible.
    particles : one row per true particle.
    errors : one row per compared position: frame, energy, region, truth, particle, dy, dx (offset
        removed), raw_dy, raw_dx, and sigma_y, sigma_x if the results have them.
    """

    overall: Spread
    raw: Spread
    regions: dict[str, Spread]
    within: dict[str, Spread]
    step: float
    common: float
    recall: float
    recall_coasting: float
    precision: float
    false_tracks: int
    switches: int
    fragmentations: int
    particles: pd.DataFrame
    errors: pd.DataFrame

    def summary(self) -> dict[str, Any]:
        """Return plain numbers, for JSON and tables of a terminal."""
        within = {f"within {side}": spread for side, spread in self.within.items()}
        spreads = {"overall": self.overall, "raw": self.raw, **self.regions, **within}
        return {
            **{name: asdict(spread) for name, spread in spreads.items()},
            "step": self.step,
            "common": self.common,
            "recall": self.recall,
            "recall_coasting": self.recall_coasting,
            "precision": self.precision,
            "false_tracks": self.false_tracks,
            "switches": self.switches,
            "fragmentations": self.fragmentations,
        }


def score(
    particles: pd.DataFrame, truth: Truth, *, revision: Revision = "highest", gate: float = 0.5
) -> Score:
    """Compare the rows of the ``particles`` stream with the truth.

    Parameters
    ----------
    particles : columns frame, particle, y, x, state, revision (px; `frame` is the row of `truth`).
    truth : of the same run; see :meth:`Truth.select` for one of several runs.
    revision : take the ``highest`` revision of each frame and particle, or only the ``first``.
    gate : largest distance of a match, in radii of the true particle.

    Raises
    ------
    ValueError
        If a column is missing, or frames have no truth.
    """
    rows = usable_rows(particles, truth, revision)
    measured = where(rows, rows["state"].isin(MEASURED))
    matches = match_rows(measured, truth, gate)
    hits = _instances(matches, truth.whole)
    errors = position_errors(matches, measured, truth)
    apart = within_sides(errors)
    wanted = max(int(truth.whole.sum()), 1)
    coasting = match_rows(where(rows, rows["state"].isin([*MEASURED, "coasting"])), truth, gate)
    tracked = set(measured.loc[measured["state"] == "tracked", "particle"])
    return Score(
        overall=_spread(errors, ""),
        raw=_spread(errors, "raw_"),
        regions={name: _spread(where(errors, errors["region"] == name), "") for name in _REGIONS},
        within={s: _spread(where(apart, apart["region"] == s), "") for s in ("below", "above")},
        step=float(np.sqrt(_steps(errors).pow(2).sum(axis=1).mean())),
        common=_common(errors),
        recall=int(hits.sum()) / wanted,
        recall_coasting=int(_instances(coasting, truth.whole).sum()) / wanted,
        precision=float(matches.near.sum() / max(len(measured), 1)),
        false_tracks=_false_tracks(matches, tracked),
        switches=int(count_switches(matches.frame_id).sum()),
        fragmentations=int(count_gaps(matches.frame_id, truth.whole).sum()),
        particles=_table(matches, errors, hits, truth),
        errors=errors,
    )


def _instances(matches: Matches, whole: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Mark the instances (F, P) of wholly visible particles that some identity explains."""
    return (matches.frame_id >= 0) & whole


def _distance(errors: pd.DataFrame, prefix: str) -> Array:
    return np.hypot(errors[f"{prefix}dy"].to_numpy(), errors[f"{prefix}dx"].to_numpy())


def _spread(errors: pd.DataFrame, prefix: str) -> Spread:
    distance = _distance(errors, prefix)
    if distance.size == 0:
        return Spread(n=0, rms=float("nan"), median=float("nan"), p95=float("nan"))
    return Spread(
        n=distance.size,
        rms=float(np.sqrt(np.mean(distance**2))),
        median=float(np.median(distance)),
        p95=float(np.percentile(distance, 95)),
    )


def _steps(errors: pd.DataFrame) -> pd.DataFrame:
    """Subtract the mean error below the edge from that above, per true particle: columns dy, dx."""
    means = errors.groupby(["region", "truth"])[["dy", "dx"]].mean()
    table: Any = means.reindex(pd.Index(_REGIONS, name="region"), level="region")
    parts = {name: table[table.index.get_level_values("region") == name] for name in _REGIONS}
    above, below = parts["above"].droplevel("region"), parts["below"].droplevel("region")
    return (above - below).dropna()


def _common(errors: pd.DataFrame) -> float:
    mean = errors.groupby("frame")[["dy", "dx"]].mean()
    return float(np.sqrt(mean.pow(2).sum(axis=1).mean())) if len(mean) else float("nan")


def _false_tracks(matches: Matches, tracked: set[int]) -> int:
    there = np.isfinite(matches.yx[..., 0])
    share = (matches.near & there).sum(axis=0) / np.maximum(there.sum(axis=0), 1)
    confirmed = np.isin(matches.ids, sorted(tracked))
    return int(np.count_nonzero(confirmed & (share < 0.5)))


def _table(
    matches: Matches, errors: pd.DataFrame, hits: NDArray[np.bool_], truth: Truth
) -> pd.DataFrame:
    steps = _steps(errors)
    switches = count_switches(matches.frame_id)
    gaps = count_gaps(matches.frame_id, truth.whole)
    rows = []
    for particle in range(truth.n_particles):
        mine = where(errors, errors["truth"] == particle)
        wanted = int(truth.whole[:, particle].sum())
        free, raw = _spread(mine, ""), _spread(mine, "raw_")
        rows.append(
            {
                "truth": particle,
                "particles": sorted(set(mine["particle"].tolist())),
                "radius": float(truth.radius[particle]),
                "instances": wanted,
                "recall": float(hits[:, particle].sum() / wanted) if wanted else float("nan"),
                "rms": free.rms,
                "median": free.median,
                "p95": free.p95,
                "raw_rms": raw.rms,
                "offset_y": float(mine["raw_dy"].mean()),
                "offset_x": float(mine["raw_dx"].mean()),
                "step": float(np.hypot(*steps.loc[particle]))
                if particle in steps.index
                else np.nan,
                "switches": int(switches[particle]),
                "fragmentations": int(gaps[particle]),
            }
        )
    return pd.DataFrame(rows)


# Errors of spectra.

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
