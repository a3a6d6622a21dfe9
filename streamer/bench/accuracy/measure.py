"""All figures of one estimate."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ...evaluate import Score, score
from ...evaluate.bound import rms_over_bound
from ...evaluate.calibration import calibration
from .estimates import Estimate, Floats
from .positions import path_errors, position_figures, within_side
from .reference import Reference
from .scene import Scene
from .similarity import Alignment, align
from .trajectories import owned, paths


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """One estimate, measured.

    Attributes
    ----------
    figures : by the keys of the columns; NaN where there is nothing to tell.
    paths : (F, P, 2) px, positions of the true particles, NaN where there is none.
    errors : (F, P, 2) px, what is wrong with them, a constant offset per particle removed.
    alignment : of the ROIs along these paths.
    """

    figures: Mapping[str, float]
    paths: Floats
    errors: Floats
    alignment: Alignment


def measure(estimate: Estimate, scene: Scene, best: Reference) -> Measured:
    """Compare an estimate with the truth, and with the best that there could be."""
    truth = scene.truth
    found = score(estimate.rows, truth)
    followed = paths(owned(found.errors, estimate.rows), truth)
    errors = path_errors(followed, found, truth)
    wanted = np.where(truth.whole[..., None], followed, np.nan)
    alignment = align(scene, wanted, best.data_range)
    figures = {
        **position_figures(found, errors),
        **_bound(found, best),
        **_calibration(found),
        **_identity(found, len(estimate.rows), truth.n_frames),
        **_similarity(alignment, best.oracle),
        "seconds": estimate.seconds,
    }
    return Measured(figures=figures, paths=followed, errors=errors, alignment=alignment)


def _bound(found: Score, best: Reference) -> dict[str, float]:
    within = within_side(found.errors, "above")
    return {
        "crb_above": rms_over_bound(found.errors, best.bound)["above"],
        "crb_within": rms_over_bound(within, best.bound)["above"],
    }


def _calibration(found: Score) -> dict[str, float]:
    if "sigma_y" not in found.errors:  # peers tell no errors
        return {}
    nees = calibration(found.errors)
    return {
        "nees": nees["overall"].nees,
        "nees_above": nees["above"].nees,
        "nees_within": nees["within above"].nees,
    }


def _identity(found: Score, measured: int, frames: int) -> dict[str, float]:
    return {
        "recall": found.recall,
        "false_per_frame": (1 - found.precision) * measured / frames,
        "switches": found.switches,
    }


def _similarity(alignment: Alignment, oracle: Alignment) -> dict[str, float]:
    """Similarity beside the oracle's, of the pairs that both have."""
    both = np.isfinite(alignment.pairs) & np.isfinite(oracle.pairs)
    ours, ideal = alignment.pairs[both], oracle.pairs[both]
    if not ours.size:
        return {}
    excess = alignment.residual - oracle.residual
    known = excess[np.isfinite(excess)]
    return {
        "ssim": float(ours.mean()),
        "ssim_var": float(ours.var()),
        "ssim_oracle": float(ideal.mean()),
        "ssim_var_oracle": float(ideal.var()),
        "residual": float(known.mean()) if known.size else float("nan"),
    }
