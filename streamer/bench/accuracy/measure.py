"""All figures of one estimate."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ....models.arrays import Array
from ...evaluate import Score, score
from ...evaluate.bound import rms_over_bound
from ...evaluate.calibration import calibration
from ...evaluate.differential import compare_maps
from ...evaluate.identity import identity
from ...evaluate.similarity import adjacent_ssim, compare_ssim
from ...simulate import Truth
from .estimates import Estimate
from .positions import path_errors, position_figures
from .reference import Reference
from .scene import Scene
from .trajectories import owned, paths

Pairs = NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
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


def measure(estimate: Estimate, scene: Scene, best: Reference) -> Measured:
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
    return Measured(figures=figures, paths=followed, errors=errors, pairs=pairs)


def _bound(found: Score, best: Reference) -> dict[str, float]:
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


def _similarity(pairs: Pairs, paths: Array, scene: Scene, best: Reference) -> dict[str, float]:
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
