"""Errors of measured motion against a known one.

A method knows positions but for a constant (the place of its reference point), so that the mean
error over the frames is taken out of each; what varies with the frame, and above all what steps at
the edge, stays.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from .....models.arrays import Array, Mask
from ...evaluate.matching import MEASURED, Revision, of_revision, where

Regions = NDArray[np.str_]


@dataclass(frozen=True, slots=True, kw_only=True)
class MotionError:
    """How far a measured motion is from the known one; lengths in the plane, px.

    Attributes
    ----------
    frames : frames with a measurement, of all frames.
    median, p95, rms, largest : of the length of the error per frame.
    step : length of the mean error above the edge minus that below.
    bump : the same, at the edge minus below.
    """

    frames: int
    of: int
    median: float
    p95: float
    rms: float
    largest: float
    step: float
    bump: float


def centred(errors: Array) -> Array:
    """Errors (F, 2) px without their mean over the frames; NaN stays."""
    if not np.isfinite(errors).any():
        return errors
    return errors - np.nanmean(errors, axis=0)


def motion_error(errors: Array, region: Regions) -> MotionError:
    """Sum up errors (F, 2), px, NaN where nothing was measured.

    Parameters
    ----------
    region : (F,) ``below``, ``at`` or ``above`` the edge.
    """
    known: Mask = np.isfinite(errors[:, 0]) & np.isfinite(errors[:, 1])
    length = np.hypot(*errors[known].T) if known.any() else np.full(1, np.nan)
    return MotionError(
        frames=int(known.sum()),
        of=len(errors),
        median=float(np.median(length)),
        p95=float(np.percentile(length, 95)),
        rms=float(np.sqrt(np.mean(length**2))),
        largest=float(length.max()),
        step=_jump(errors, known, region, "above"),
        bump=_jump(errors, known, region, "at"),
    )


def _jump(errors: Array, known: Mask, region: Regions, to: str) -> float:
    parts = [errors[known & (region == name)] for name in ("below", to)]
    if not all(map(len, parts)):
        return float("nan")
    return float(np.hypot(*(parts[1].mean(axis=0) - parts[0].mean(axis=0))))


def particle_errors(particles: pd.DataFrame, motion: Array, revision: Revision) -> pd.DataFrame:
    """Errors of every measured position; columns frame, particle, dy, dx, sigma_y, sigma_x.

    Parameters
    ----------
    particles : rows of the ``particles`` stream. motion : (F, 2) px, the known motion.
    revision : rows of the ``highest`` revision of each frame, or of the ``first``.
    """
    rows = of_revision(particles, revision)
    rows = where(rows, rows["state"].isin(MEASURED) & np.isfinite(rows["y"]))
    frame = rows["frame"].to_numpy(np.int64)
    columns = {name: rows[name] for name in ("frame", "particle", "sigma_y", "sigma_x", "area")}
    for axis, name in enumerate("yx"):
        columns[f"d{name}"] = rows[name] - motion[frame, axis]
    return centred_by_particle(pd.DataFrame(columns))


def centred_by_particle(errors: pd.DataFrame) -> pd.DataFrame:
    """Errors dy, dx without the mean over the frames of each particle."""
    means = errors.groupby("particle")[["dy", "dx"]].transform("mean")
    return errors.assign(dy=errors["dy"] - means["dy"], dx=errors["dx"] - means["dx"])


def frame_errors(errors: pd.DataFrame, frames: int) -> Array:
    """Median over the particles, (F, 2) px, NaN where there is none, its mean taken out."""
    medians = errors.groupby("frame")[["dy", "dx"]].median().reindex(range(frames))
    return centred(medians.to_numpy(np.float64))
