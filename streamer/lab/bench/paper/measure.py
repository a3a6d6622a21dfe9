"""The figures of the paper, and those it lacks, of one method."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from .....models.arrays import Array
from .....models.ssim import ssim
from ...evaluate import Score, score
from ...evaluate.similarity import adjacent_ssim, compare_maps, compare_ssim, sides_of, windows
from ...simulate import Truth
from ..accuracy.measure import owned, path_errors, paths, rms
from ..accuracy.scene import Estimate
from .series import Images, Series


@dataclass(frozen=True, slots=True, kw_only=True)
class MethodFigures:
    """One method, measured.

    Attributes
    ----------
    figures : by the keys of the columns; NaN where there is nothing to tell.
    paths : (F, P, 2) px, NaN where a particle was not followed.
    pairs, clean : (F - 1, P) SSIM of adjacent aligned ROIs as measured, and without noise.
    """

    figures: Mapping[str, float]
    paths: Array
    pairs: Images
    clean: Images


def measure(estimate: Estimate, series: Series, particle: int) -> MethodFigures:
    """Compare positions with the truth of a series.

    Parameters
    ----------
    estimate : of one method; one revision. series : its frames.
    particle : the one that is told by itself.
    """
    truth = series.truth
    found, followed, errors = _trajectories(estimate, truth)
    inside = np.where(truth.whole[..., None], followed, np.nan)
    pairs = adjacent_ssim(series.od, inside, truth.radius)
    clean = adjacent_ssim(series.clean, inside, truth.radius)
    distances = np.linalg.norm(errors, axis=2)
    figures = {
        **similarity(pairs, series.oracle, particle),
        **_prefixed("clean_", similarity(clean, series.oracle_clean, particle)),
        **_lasting(series, inside, particle),
        **_residuals(series, inside),
        "rms": rms(errors),
        "p95": _p95(distances),
        "rms_one": rms(errors[:, particle]),
        "recall": found.recall,
        "switches": float(found.switches),
    }
    return MethodFigures(figures=figures, paths=followed, pairs=pairs, clean=clean)


def position_error(estimate: Estimate, truth: Truth) -> float:
    """Rms distance of positions from the truth, px, one constant offset per particle removed."""
    return rms(_trajectories(estimate, truth)[2])


def oracle(series: Series, particle: int) -> MethodFigures:
    """What the true positions give."""
    truth = series.truth
    yx = np.where(truth.whole[..., None], truth.yx, np.nan)
    figures = {
        **similarity(series.oracle, series.oracle, particle),
        **_prefixed("clean_", similarity(series.oracle_clean, series.oracle_clean, particle)),
        **_lasting(series, yx, particle),
        **_residuals(series, yx),
        "rms": 0.0,
        "p95": 0.0,
        "rms_one": 0.0,
        "recall": 1.0,
        "switches": 0.0,
    }
    return MethodFigures(figures=figures, paths=yx, pairs=series.oracle, clean=series.oracle_clean)


def similarity(values: Images, best: Images, particle: int) -> dict[str, float]:
    """Mean and variance of the SSIM of one particle and of all, beside the oracle's.

    Parameters
    ----------
    values, best : (F - 1, P) of the method, and of the true positions.
    particle : the one that is told by itself.

    Returns
    -------
    ssim_one, var_one : of that particle. ssim, var : over all pairs of all particles.
    worst : the least mean of a particle. oracle_one, oracle : means of the same pairs aligned by
    the truth.
    """
    one = compare_ssim(values[:, [particle]], best[:, [particle]])
    all_ = compare_ssim(values, best)
    means = [float(np.nanmean(v)) for v in values.T if np.isfinite(v).any()]
    return {
        "ssim_one": one.mean,
        "var_one": one.variance,
        "oracle_one": one.oracle_mean,
        "ssim": all_.mean,
        "var": all_.variance,
        "oracle": all_.oracle_mean,
        "worst": min(means, default=float("nan")),
    }


def last_ssim(images: Images, yx: Array, radius: Array) -> Images:
    """SSIM of each particle's ROI in every frame with that in the last one.

    Adjacent pairs do not see an error that grows slowly; these do.

    Parameters
    ----------
    images : (F, H, W) OD, NaN where invalid. yx : (F, P, 2) px, NaN where there is none.
    radius : (P,) px.

    Returns
    -------
    (F - 1, P) float32, NaN where one of the two is not known.
    """
    sides = sides_of(radius)
    (last,) = windows(images[-1:], yx[-1:], sides)
    values = [ssim(rois, last, 1.0).numpy() for rois in windows(images[:-1], yx[:-1], sides)]
    return np.array(values, np.float32).reshape(-1, len(radius))


def _lasting(series: Series, yx: Array, particle: int) -> dict[str, float]:
    """Mean SSIM, without noise, with the last frame; above the edge, where contrast is alike."""
    truth = series.truth
    chosen = np.flatnonzero(truth.region == "above")
    values = last_ssim(series.clean[chosen], yx[chosen], truth.radius)
    return {"far_one": _mean(values[:, particle]), "far": _mean(values)}


def _mean(values: Images) -> float:
    known = values[np.isfinite(values)]
    return float(known.mean()) if known.size else float("nan")


def _trajectories(estimate: Estimate, truth: Truth) -> tuple[Score, Array, Array]:
    """Score, positions (F, P, 2) of the true particles, and what is wrong with them, px."""
    found = score(estimate.rows, truth)
    followed = paths(owned(found.errors, estimate.rows), truth)
    return found, followed, path_errors(followed, found, truth)


def _residuals(series: Series, yx: Array) -> dict[str, float]:
    return {
        "residual": compare_maps(series.od, yx, series.simulator).residual,
        "clean_residual": compare_maps(series.clean, yx, series.simulator).residual,
    }


def _prefixed(prefix: str, figures: Mapping[str, float]) -> dict[str, float]:
    return {prefix + key: value for key, value in figures.items()}


def _p95(distances: Array) -> float:
    known = distances[np.isfinite(distances)]
    return float(np.percentile(known, 95)) if known.size else float("nan")
