"""Blurred frames, told from their optical density before they are linked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import numpy as np
from numpy.typing import NDArray

from ....models.arrays import Array
from ....models.detector import Detections
from ..frames import OpticalDensityFrame
from .arrival import GOOD, Verdict
from .settings import QualitySettings

_INSIDE, _OUTSIDE = 8, 14  # px on either side of a mask's rim; rims of domes lie outside of it

_SLANT = 3  # px: a rim must not go further to the side over as many rows

_LAG = 2  # px

_ENDS = 4  # px at either end of a profile, which tell its step

_CROSSINGS = 20  # least places at which the rim of a particle is crossed

_CLEAR = 50.0  # least squared step of a rim over the variance of its bends

_WORSE = 4.0  # largest error of a particle over the smallest

_OVERLAPPING = 1.94  # sum of squared correlations of second differences of white noise

_ALIKE = 1.4  # largest ratio of the contrasts of frames that are compared

_REMEMBERED = 300


@dataclass(frozen=True, slots=True, kw_only=True)
class Sharpness:
    """How sharp the rims of particles are in one frame, along y and x.

    Attributes
    ----------
    energy : eV, NaN if unknown. provisional : corrected by the flat of another energy.
    share : (2,) float64, power of fine structure across the rims over the square of their step, 1.
    error : (2,) float64, its standard error from the noise.
    step : (2,) float64, median step over the rims, OD.
    """

    energy: float
    provisional: bool
    share: Array
    error: Array
    step: Array


@dataclass(frozen=True, slots=True, kw_only=True)
class SharpnessState:
    """Sharpness of the good frames of a run, and of those `blurred` since, the newest last."""

    frames: tuple[Sharpness, ...] = ()
    blurred: tuple[Sharpness, ...] = ()


def assess(
    state: SharpnessState,
    corrected: OpticalDensityFrame,
    detections: Detections,
    settings: QualitySettings,
) -> tuple[SharpnessState, Verdict]:
    """Judge the sharpness of a frame by that of frames of similar energy.

    What is measured is the profile of optical density across the rim of each particle, averaged
    along it: the edge-spread function (ISO 12233). Its mean squared second difference over 2 px is
    what noise leaves, which its scatter tells, plus structure as fine as that. In units of the
    step over the rim it depends neither on the contrast nor on the background. Chemistry does take
    part: at an edge, a shell that is not oxidised hides the rim. Hence frames of similar energy,
    and of similar contrast. Along y and x separately, as motion blurs one of them.

    No verdict is given where no rim is found, nor while no flat is known, as the pattern of the
    scintillator is in the image. When as many frames in a row are blurred as make a median, the
    microscope has changed, and they are what is usual from there on.

    Returns
    -------
    state
    verdict : good or ``blurred``.
    """
    if settings.min_sharpness == 0 or corrected.estimated:
        return state, GOOD
    now = _measure(corrected, detections)
    if now is None:
        return state, GOOD
    usual = _usual(state, now, settings.sharpness_frames)
    if usual is not None:
        low = now.share < settings.min_sharpness * usual
        low &= usual - now.share > settings.sharpness_sigma * now.error
        blurred = (*state.blurred, now)
        if low.any() and len(blurred) < settings.sharpness_frames:
            worst = float((now.share / usual)[low].min())
            told = f"rims hold {worst:.0%} of the fine structure that is usual"
            return SharpnessState(frames=state.frames, blurred=blurred), Verdict("blurred", told)
        if low.any():
            return SharpnessState(frames=blurred), GOOD
    return SharpnessState(frames=(*state.frames, now)[-_REMEMBERED:]), GOOD


def _usual(state: SharpnessState, now: Sharpness, count: int) -> Array | None:
    """Median share of the nearest frames in energy of like contrast, None if there are too few."""
    if not state.frames:
        return None
    steps = np.array([f.step for f in state.frames])
    alike = np.abs(np.log(steps / now.step)).max(axis=1) <= np.log(_ALIKE)
    alike &= np.array([f.provisional == now.provisional for f in state.frames])
    if alike.sum() < count:
        return None
    kept = [state.frames[i] for i in np.flatnonzero(alike)[::-1]]
    # of frames of one energy the newest: a stable sort
    away = np.abs(np.nan_to_num([f.energy - now.energy for f in kept]))
    nearest = np.argsort(away, kind="stable")[:count]
    return cast("Array", np.median([kept[i].share for i in nearest], axis=0))


def _measure(corrected: OpticalDensityFrame, detections: Detections) -> Sharpness | None:
    found = [_along(axis, corrected, detections.labels) for axis in (0, 1)]
    pairs = [pair for pair in found if pair is not None]
    if len(pairs) < len(found):
        return None
    share, error, step = np.array(pairs).T
    energy = float("nan") if corrected.energy is None else corrected.energy
    return Sharpness(
        energy=energy,
        provisional=corrected.provisional,
        share=share,
        error=error,
        step=step,
    )


def _along(
    axis: int, corrected: OpticalDensityFrame, labels: NDArray[np.int32]
) -> tuple[float, float, float] | None:
    """Share of fine structure in the rims, its error, and the step: medians of the particles."""
    lines, owner = _lines(axis, corrected.od, corrected.valid, labels)
    _, which, count = np.unique(owner, return_inverse=True, return_counts=True)
    enough = count >= _CROSSINGS
    if not enough.any():
        return None
    count = count[enough]
    mean = (which.ravel() == np.flatnonzero(enough)[:, None]) / count[:, None]  # (P, N)
    step = mean @ (lines[:, :_ENDS].mean(axis=1) - lines[:, -_ENDS:].mean(axis=1))
    bend = lines[:, : -2 * _LAG] - 2 * lines[:, _LAG:-_LAG] + lines[:, 2 * _LAG :]
    profile = mean @ bend
    # the scatter of the lines tells the noise of their mean, of whatever kind it is
    noise = np.maximum(mean @ bend**2 - profile**2, 0).mean(axis=1) / (count - 1)
    power = (profile**2).mean(axis=1) - noise
    variance = (4 * np.maximum(power, 0) * noise + 2 * noise**2) * _OVERLAPPING / bend.shape[1]
    # no rim is there where the step drowns
    clear = step**2 > _CLEAR * noise
    if not clear.any():
        return None
    share = (power / step**2)[clear]
    error = (np.sqrt(variance) / step**2)[clear]
    sure = error <= _WORSE * error.min()
    return (
        float(np.median(share[sure])),
        float(np.median(error[sure]) / np.sqrt(sure.sum())),
        float(np.median(np.abs(step[clear][sure]))),
    )


def _lines(
    axis: int, od: NDArray[np.float32], valid: NDArray[np.bool_], labels: NDArray[np.int32]
) -> tuple[Array, NDArray[np.int32]]:
    """Optical density along an axis across the rims of particles.

    Places where another particle or an invalid pixel is near, or the rim is slanted, are left out.

    Returns
    -------
    lines : (N, inside + outside) float64, from inside to outside.
    owner : (N,) label of the particle.
    """
    inside = labels > 0
    rim = inside[:, 1:] != inside[:, :-1] if axis else inside[1:] != inside[:-1]
    place = np.nonzero(rim)
    along, beside = place[axis], place[1 - axis]
    fits = (along >= _OUTSIDE) & (along < labels.shape[axis] - _OUTSIDE - 1)
    fits &= (beside >= _SLANT) & (beside < labels.shape[1 - axis] - _SLANT)
    # pixels by their number in the flat frame: `step` apart along the axis
    step, aside = (1, labels.shape[1]) if axis else (labels.shape[1], 1)
    first = (along[fits] * step + beside[fits] * aside)[:, None]
    steps = step * np.arange(-_INSIDE + 1, _OUTSIDE + 1)
    # backwards where the particle lies behind
    at = first + np.where(inside.take(first), steps, step - steps)
    names = labels.take(at)
    own = names[:, :1]
    clean = (names[:, :_INSIDE] == own).all(axis=1) & (names[:, _INSIDE:] == 0).all(axis=1)
    at, own = at[clean], own[clean]
    clean = valid.take(at).all(axis=1)
    for away in (-_SLANT * aside, _SLANT * aside):
        clean &= labels.take(at[:, _INSIDE - 1 - _SLANT] + away) == own[:, 0]
        clean &= labels.take(at[:, _INSIDE + _SLANT] + away) == 0
    return od.take(at[clean]).astype(np.float64), own[clean, 0]
