"""Figures of position errors, beyond those of a score."""

from __future__ import annotations

import numpy as np

from ....models.arrays import Array
from ...evaluate import Score
from ...simulate import Truth


def position_figures(found: Score, errors: Array) -> dict[str, float]:
    """Errors in px of one estimate.

    Parameters
    ----------
    found : its score, with one constant offset of each true particle removed.
    errors : (F, P, 2) px of its whole trajectories, see :func:`path_errors`.

    Returns
    -------
    rms, median, p95 : over all energies. below, at, above : rms of the same errors.
    within_below, within_above : rms with the offset removed on each side of the edge by itself:
        the precision, without the step. step : between the sides. common : shared by all.
    ungated : rms with no limit to the distance from the truth.
    """
    return {
        "n": found.overall.n,
        "rms": found.overall.rms,
        "median": found.overall.median,
        "p95": found.overall.p95,
        **{name: spread.rms for name, spread in found.regions.items()},
        **{f"within_{name}": spread.rms for name, spread in found.within.items()},
        "step": found.step,
        "common": found.common,
        "offset": found.raw.rms,
        "ungated": rms(errors),
    }


def path_errors(paths: Array, found: Score, truth: Truth) -> Array:
    """Errors (F, P, 2) px of whole trajectories, however far off, less the score's offsets.

    Parameters
    ----------
    paths : (F, P, 2) px, NaN where there is none. found : the score of the same estimate.
    truth : of the same frames; what it does not ask for is NaN in the result.
    """
    hits = found.errors.groupby("truth")[["raw_dy", "raw_dx"]].mean()
    offset = hits.reindex(range(truth.n_particles)).to_numpy(np.float64)
    return np.where(truth.whole[..., None], paths - truth.yx - offset, np.nan)


def rms_by_frame(errors: Array) -> Array:
    """Rms over the particles in each frame, px, (F,), of errors (F, P, 2)."""
    squared = (errors**2).sum(axis=2)
    n = np.isfinite(squared).sum(axis=1)
    return np.sqrt(np.nansum(squared, axis=1) / np.where(n > 0, n, np.nan))


def rms(errors: Array) -> float:
    """Rms of the distances (..., 2), px; NaN if there are none."""
    squared = (errors**2).sum(axis=-1)
    known = squared[np.isfinite(squared)]
    return float(np.sqrt(known.mean())) if known.size else float("nan")
