"""Blurred frames, told from their optical density before they are linked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import numpy as np
from numpy.typing import NDArray

from ...models.detections import Detections
from ..frames import Corrected
from .settings import QualitySettings
from .verdict import GOOD, Verdict

Array = NDArray[np.float64]

_INSIDE, _OUTSIDE = 8, 14  # px on either side of a mask's rim; rims of domes lie outside of it
_SLANT = 3  # px: a rim must not go further to the side over as many rows
_LAG = 2  # px
_ENDS = 4  # px at either end of a profile, which tell its step
_CROSSINGS = 8  # least places at which the rim of a particle is crossed
_OVERLAPPING = 1.94  # sum of squared correlations of second differences of white noise
_REMEMBERED = 300


@dataclass(frozen=True, slots=True, kw_only=True)
class Sharpness:
    """How sharp the rims of particles are in one frame, along y and x.

    Attributes
    ----------
    energy : eV, NaN if unknown. provisional : without its own flat, whose texture is left in it.
    share : (2,) float64, power of fine structure across the rims over the square of their step, 1.
    error : (2,) float64, its standard error from the noise.
    """

    energy: float
    provisional: bool
    share: Array
    error: Array


@dataclass(frozen=True, slots=True, kw_only=True)
class SharpnessState:
    """Sharpness of the good frames of a run, and of those `blurred` since, the newest last."""

    frames: tuple[Sharpness, ...] = ()
    blurred: tuple[Sharpness, ...] = ()


def assess(
    state: SharpnessState,
    corrected: Corrected,
    detections: Detections,
    settings: QualitySettings,
) -> tuple[SharpnessState, Verdict]:
    """Judge the sharpness of a frame by that of frames of similar energy.

    What is measured is the profile of optical density across the rim of each particle, averaged
    along it: the edge-spread function (ISO 12233). Its mean squared second difference over 2 px is
    what noise leaves, which is known and taken off, plus structure as fine as that. In units of the
    step over the rim it depends neither on the contrast nor on the background, so that an
    absorption edge takes little part, by chemistry and rougher masks: hence frames of similar
    energy. Along y and x separately, as motion blurs one of them. A frame in which no rim is found
    gets no verdict. When as many frames in a row are blurred as make a median, the microscope has
    changed, and they are what is usual from there on.

    Returns
    -------
    state
    verdict : good or ``blurred``.
    """
    now = _measure(corrected, detections)
    if now is None or settings.min_sharpness == 0:
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
    """Median share of the frames that are the nearest in energy, None if there are too few."""
    alike = [f for f in state.frames[::-1] if f.provisional == now.provisional]
    if len(alike) < count:
        return None
    # of frames of one energy the newest: a stable sort
    away = np.abs(np.nan_to_num([f.energy - now.energy for f in alike]))
    nearest = np.argsort(away, kind="stable")[:count]
    return cast("Array", np.median([alike[i].share for i in nearest], axis=0))


def _measure(corrected: Corrected, detections: Detections) -> Sharpness | None:
    shares, errors = [], []
    for od, valid, labels in (
        (corrected.od.T, corrected.valid.T, detections.labels.T),  # along y
        (corrected.od, corrected.valid, detections.labels),
    ):
        profiles, count = _profiles(od, valid, labels)
        noise = corrected.sigma**2 / count
        step = profiles[:, :_ENDS].mean(axis=1) - profiles[:, -_ENDS:].mean(axis=1)
        square = float((step**2).sum())
        if not square > 2 * noise.sum():  # there is no rim at all
            return None
        fine, error = _fine(profiles, noise)
        shares.append(fine / square)
        errors.append(error / square)
    energy = float("nan") if corrected.energy is None else corrected.energy
    return Sharpness(
        energy=energy,
        provisional=corrected.provisional,
        share=np.array(shares),
        error=np.array(errors),
    )


def _fine(profiles: Array, noise: Array) -> tuple[float, float]:
    """Mean squared second difference of P profiles less that of their noise (P,), and its error.

    Scaled to the variance of white noise, and summed over the profiles.
    """
    middle = profiles[:, _LAG:-_LAG]
    difference = profiles[:, : -2 * _LAG] - 2 * middle + profiles[:, 2 * _LAG :]
    power = (difference**2).mean(axis=1) / 6
    signal = np.maximum(power - noise, 0.0)
    variance = (4 * signal * noise + 2 * noise**2) * _OVERLAPPING / middle.shape[1]
    return float((power - noise).sum()), float(np.sqrt(variance.sum()))


def _profiles(
    od: NDArray[np.float32], valid: NDArray[np.bool_], labels: NDArray[np.int32]
) -> tuple[Array, Array]:
    """Mean optical density along x across the rim of each of P particles.

    Places where another particle or an invalid pixel is near, or the rim is slanted, are left out.

    Returns
    -------
    profiles : (P, inside + outside) float64, from inside to outside.
    count : (P,) float64, of how many places each is the mean.
    """
    inside = labels > 0
    row, column = np.nonzero(inside[:, 1:] != inside[:, :-1])
    fits = (column >= _OUTSIDE) & (column < labels.shape[1] - _OUTSIDE - 1)
    fits &= (row >= _SLANT) & (row < len(labels) - _SLANT)
    row, column = row[fits, None], column[fits, None]
    steps = np.arange(-_INSIDE + 1, _OUTSIDE + 1)
    # from right to left where the particle lies to the right
    at = np.where(inside[row, column], column + steps, column + 1 - steps)
    names = labels[row, at]
    own = names[:, :1]
    clean = (names[:, :_INSIDE] == own).all(axis=1) & (names[:, _INSIDE:] == 0).all(axis=1)
    clean &= valid[row, at].all(axis=1)
    for away in (-_SLANT, _SLANT):
        clean &= labels[row + away, at[:, [_INSIDE - 1 - _SLANT]]][:, 0] == own[:, 0]
        clean &= labels[row + away, at[:, [_INSIDE + _SLANT]]][:, 0] == 0
    _, which, count = np.unique(own[clean], return_inverse=True, return_counts=True)
    mean = (which.ravel() == np.arange(len(count))[:, None]) / np.maximum(count, 1)[:, None]
    profiles = mean @ od[row[clean], at[clean]]
    enough = count >= _CROSSINGS
    return profiles[enough], count[enough].astype(np.float64)
