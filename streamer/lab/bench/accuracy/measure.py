"""All figures of one estimate."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from .....models.arrays import Array
from ...evaluate import Score, score
from ...evaluate.bound import rms_over_bound
from ...evaluate.calibration import calibration
from ...evaluate.identity import identity
from ...evaluate.matching import MEASURED, where
from ...evaluate.similarity import adjacent_ssim, compare_maps, compare_ssim, sides_of, windows
from ...simulate import Truth
from .scene import BenchScan, Estimate, SceneScales

Pairs = NDArray[np.float32]
Spans = tuple[NDArray[np.int64], NDArray[np.int64]]
UNALIGNED = "unaligned"
ORACLE = "oracle"
_AVERAGE = 5  # one frame below the edge is mostly noise

# Figures of position errors, beyond those of a score.


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


# Rows of an estimate as trajectories of the true particles.


def owned(errors: pd.DataFrame, rows: pd.DataFrame) -> pd.DataFrame:
    """Measured rows whose identity has ever been on a true particle, with that one as `truth`.

    Parameters
    ----------
    errors : of a score of these rows; each identity belongs to the particle it mostly lies on.
    rows : of the estimate; unlike the errors they hold what lies far from any particle, too.
    """
    rows = where(rows, rows["state"].isin(MEASURED))
    counts = errors.groupby(["particle", "truth"]).size().unstack(fill_value=0)
    ids, particles = counts.index.to_numpy(np.int64), counts.columns.to_numpy(np.int64)
    if not ids.size:
        return rows.iloc[:0].assign(truth=0)
    owner = particles[counts.to_numpy().argmax(axis=1)]
    at = np.searchsorted(ids, rows["particle"].to_numpy(np.int64)).clip(max=len(ids) - 1)
    known = ids[at] == rows["particle"].to_numpy(np.int64)
    return where(rows.assign(truth=owner[at]), known)


def paths(known: pd.DataFrame, truth: Truth) -> Array:
    """Positions (F, P, 2) px of each true particle, NaN where there is none.

    Of several identities on one particle in one frame, the nearest counts.
    """
    yx = np.full((truth.n_frames, truth.n_particles, 2), np.nan)
    frame, owner = (known[key].to_numpy(np.int64) for key in ("frame", "truth"))
    found = known[["y", "x"]].to_numpy(float)
    far = np.linalg.norm(found - truth.yx[frame, owner], axis=1)
    order = np.argsort(-far, kind="stable")  # the nearest is written last
    yx[frame[order], owner[order]] = found[order]
    return yx


@dataclass(frozen=True, slots=True, kw_only=True)
class EstimateFigures:
    """One estimate, measured.

    Attributes
    ----------
    figures : by the keys of the columns; NaN where there is nothing to tell.
    paths : (F, P, 2) px, positions of the true particles, NaN where there is none.
    errors : (F, P, 2) px, what is wrong with them, a constant offset per particle removed.
    pairs : (F - 1, P) SSIM of adjacent ROIs that are aligned by these paths.
    """

    figures: Mapping[str, float]
    paths: Array
    errors: Array
    pairs: Pairs


def measure(estimate: Estimate, scene: BenchScan, best: SceneScales) -> EstimateFigures:
    """Compare an estimate with the truth, and with the best that there could be."""
    truth = scene.truth
    found = score(estimate.rows, truth)
    followed = paths(owned(found.errors, estimate.rows), truth)
    errors = path_errors(followed, found, truth)
    wanted = np.where(truth.whole[..., None], followed, np.nan)
    pairs = adjacent_ssim(scene.od, wanted, truth.radius)
    figures = {
        **position_figures(found, errors),
        **_bound(found, best),
        **_calibration(found),
        **_identity(found, estimate.rows, truth),
        **_similarity(pairs, wanted, scene, best),
        "seconds": estimate.seconds,
    }
    return EstimateFigures(figures=figures, paths=followed, errors=errors, pairs=pairs)


def _bound(found: Score, best: SceneScales) -> dict[str, float]:
    ratio = rms_over_bound(found.errors, best.bound)
    return {"crb_above": ratio["above"], "crb_within": ratio["within above"]}


def _calibration(found: Score) -> dict[str, float]:
    if "sigma_y" not in found.errors:  # peers tell no errors
        return {}
    nees = calibration(found.errors)
    return {
        "nees": nees["overall"].nees,
        "nees_above": nees["above"].nees,
        "nees_within": nees["within above"].nees,
    }


def _identity(found: Score, rows: pd.DataFrame, truth: Truth) -> dict[str, float]:
    kept = identity(rows, truth)
    return {
        "recall": found.recall,
        "recall_coasting": found.recall_coasting,
        "false_per_frame": kept.false_per_frame,
        "false_tracked": kept.tracked_false_per_frame,
        "switches": found.switches,
        "fragmentations": found.fragmentations,
        "idf1": kept.idf1,
        "hota": kept.hota,
        "delay": kept.hidden.median,
        "delay_longest": kept.hidden.longest,
        "never": kept.hidden.never + kept.missed.never,
        "kept": kept.hidden.kept,
    }


def _similarity(
    pairs: Pairs, paths: Array, scene: BenchScan, best: SceneScales
) -> dict[str, float]:
    similar = compare_ssim(pairs, best.oracle)
    maps = compare_maps(scene.od, paths, scene.simulator)
    return {
        "ssim": similar.mean,
        "ssim_var": similar.variance,
        "ssim_oracle": similar.oracle_mean,
        "ssim_var_oracle": similar.oracle_variance,
        "residual": maps.residual,
        "residual_oracle": maps.oracle,
    }


# What the picture shows of one regime: curves over the scan and maps of one particle.


@dataclass(frozen=True, slots=True, kw_only=True)
class Exhibit:
    """Curves and maps by estimator; also of the ``oracle``, and without any alignment.

    Attributes
    ----------
    energies : (F,) eV. particle : the true particle that is shown.
    spans : the first and the last five frames in which it lies wholly inside.
    errors : (F,) rms over all particles, px. ssim : (F - 1,) of the particle's ROI with the
        one of the next frame. difference : (S, S) its mean ROI in the last frames minus that in the
        first ones brought to the same contrast by `gain` and an offset, OD.
    """

    energies: Array
    particle: int
    spans: Spans
    gain: float
    errors: Mapping[str, Array]
    ssim: Mapping[str, NDArray[np.float32]]
    difference: Mapping[str, Array]


def exhibit(
    scene: BenchScan, measured: Mapping[str, EstimateFigures], best: SceneScales
) -> Exhibit:
    """Collect what the picture shows of the estimates, beside the oracle."""
    truth = scene.truth
    particle = _typical(truth.whole, truth.radius)
    frames = np.flatnonzero(truth.whole[:, particle])
    if not frames.size:
        frames = np.arange(truth.n_frames)
    n = min(_AVERAGE, (len(frames) + 1) // 2)
    spans = frames[:n], frames[-n:]
    still = np.broadcast_to(truth.yx[frames[0]], truth.yx.shape)
    ways = {UNALIGNED: still, **{name: found.paths for name, found in measured.items()}}
    ways[ORACLE] = truth.yx
    ends = {name: _ends(scene, path, particle, spans) for name, path in ways.items()}
    gain, offset = _contrast(*ends[ORACLE])
    similar = {name: found.pairs for name, found in measured.items()} | {ORACLE: best.oracle}
    return Exhibit(
        energies=truth.energies,
        particle=particle,
        spans=spans,
        gain=gain,
        errors={name: rms_by_frame(found.errors) for name, found in measured.items()},
        ssim={name: one[:, particle] for name, one in similar.items()},
        difference={name: last - gain * first - offset for name, (first, last) in ends.items()},
    )


def _typical(whole: NDArray[np.bool_], radius: Array) -> int:
    """Choose the particle of median size among those that are there most of the time."""
    often = np.flatnonzero(whole.sum(axis=0) == whole.sum(axis=0).max())
    return int(often[np.argsort(radius[often])[len(often) // 2]])


def _ends(scene: BenchScan, paths: Array, particle: int, spans: Spans) -> Array:
    """Mean ROIs (2, S, S) of the particle over the first and the last frames, OD."""
    side = sides_of(scene.truth.radius[[particle]])
    means = []
    for frames in spans:
        cut = windows(scene.od[frames], paths[frames][:, [particle]], side)
        stack = np.stack([one[0, 0].numpy() for one in cut]).astype(np.float64)
        count = np.isfinite(stack).sum(axis=0)
        means.append(np.nansum(stack, axis=0) / np.where(count > 0, count, np.nan))
    return np.stack(means)


def _contrast(first: Array, last: Array) -> tuple[float, float]:
    """Gain and offset that take the first ROI to the last."""
    known = np.isfinite(first) & np.isfinite(last)
    if not known.any():
        return 1.0, 0.0
    a, b = first[known], last[known]
    centred = a - a.mean()
    gain = float(centred @ b / max(centred @ centred, 1e-12))
    return gain, float(b.mean() - gain * a.mean())
