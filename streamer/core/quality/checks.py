"""Judge sample frames by those before them: repeated, late, blank or blurred ones are not used."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import cast
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from ....models.arrays import Array
from ....models.detector import Detections
from ..correct.illumination import coarsen
from ..frames import Frame, OpticalDensityFrame
from .settings import QualitySettings

_MAD_TO_SIGMA = 0.6745  # of a normal distribution

# Arrival, by eye.
_SAMPLED = 65536  # pixels that are compared; noise makes any two exposures differ in all of them
_CONTRASTS = 5  # frames whose median contrast is the usual one
_NOISE_ONLY = 2.0  # times what noise alone makes of the contrast
_LEAST_FINITE = 0.05  # of the blocks of an image; the light is not seen in fewer

# Sharpness, by eye on simulated and recorded particles where nothing else is said.
_INSIDE, _OUTSIDE = 8, 14  # px on either side of a mask's rim; rims of domes lie outside of it
_SLANT = 3  # px: a rim must not go further to the side over as many rows
_LAG = 2  # px
_ENDS = 4  # px at either end of a profile, which give its step
_CROSSINGS = 20  # least places at which the rim of a particle is crossed
_CLEAR = 50.0  # least squared step of a rim over the variance of its bends
_WORSE = 4.0  # largest error of a particle over the smallest
_OVERLAPPING = 1.94  # derived: sum of squared correlations of second differences of white noise
_ALIKE = 1.4  # largest ratio of the contrasts of frames that are compared
_REMEMBERED = 300  # frames of known sharpness


@dataclass(frozen=True, slots=True)
class Verdict:
    """Judgement of a frame; true if it can be used.

    Attributes
    ----------
    reason : the ledger's word as in `Ledger`, empty for a good frame.
    message : what was seen, with its figures, for the operator.
    """

    reason: str = ""
    message: str = ""

    def __bool__(self) -> bool:
        """Return True for a good frame."""
        return not self.reason


GOOD = Verdict()


@dataclass(frozen=True, slots=True, kw_only=True)
class ArrivalState:
    """Order, pixels and light of the latest sample frames of a run.

    Attributes
    ----------
    newest : highest (seq_num, index) so far, by stream and data key.
    fingerprint : checksum of the pixels of the last frame, None before the first.
    contrasts : variation of the light over the field in the last good frames, counts/s (counts if
        the exposure is unknown).
    """

    newest: Mapping[tuple[str, str], tuple[int, int]] = field(default_factory=dict)
    fingerprint: int | None = None
    contrasts: tuple[float, ...] = ()


def check_arrival(
    state: ArrivalState, frame: Frame, settings: QualitySettings
) -> tuple[ArrivalState, Verdict]:
    """Judge a sample frame by the frames before it.

    The order is that of the event numbers. Times are not asked: clocks are set back now and then,
    and the frames are in order all the same.

    Returns
    -------
    state : also after a bad frame, of which only the fingerprint is remembered.
    verdict : good, ``duplicate``, ``out_of_order``, ``nan`` or ``blank``.
    """
    step = max(1, frame.image.size // _SAMPLED)
    mark = crc32(np.ascontiguousarray(frame.image[::step]).tobytes())
    repeats = settings.duplicates and mark == state.fingerprint
    seen = replace(state, fingerprint=mark)
    key = frame.key
    stream, here = (key.stream, key.data_key), (key.seq_num, key.index)
    newest = state.newest.get(stream, (0, 0))
    if settings.duplicates and here == newest:
        return seen, Verdict("duplicate", f"event {key.seq_num} has come before")
    if settings.out_of_order and here < newest:
        late = f"event {key.seq_num} comes after event {newest[0]}"
        return seen, Verdict("out_of_order", late)
    after = replace(seen, newest={**state.newest, stream: here})
    verdict, contrast = _judge_light(state, frame, settings)
    if not verdict:
        return after, verdict
    if repeats:
        message = "its pixels are those of the frame before; did the camera run?"
        return seen, Verdict("duplicate", message)
    return replace(after, contrasts=(*state.contrasts, contrast)[-_CONTRASTS:]), GOOD


def _judge_light(
    state: ArrivalState, frame: Frame, settings: QualitySettings
) -> tuple[Verdict, float]:
    """Judge the light by how much it varies over the field, counts/s; return that too."""
    coarse = coarsen(frame.image)
    if np.isfinite(coarse).mean() < _LEAST_FINITE:
        message = "pixels that are not finite are all over the field; check the detector"
        return Verdict("nan", message), 0.0
    image, blocks = frame.image, coarse[np.isfinite(coarse)]
    # a few hot pixels must not make a dark frame look lit
    low, high = np.percentile(blocks, [5, 95]) if blocks.size else (0.0, 0.0)
    step = max(1, image.size // (_SAMPLED // 4))
    difference = np.diff(image[::step], axis=1)
    noise = float(np.nanmedian(np.abs(difference))) / _MAD_TO_SIGMA / np.sqrt(2)
    per_block = noise / np.sqrt(max(image.size / max(coarse.size, 1), 1.0))
    exposure = frame.exposure or 1.0
    # 5 to 95 % of a normal distribution are 3.3 sigma
    contrast, floor = float(high - low) / 3.3 / exposure, _NOISE_ONLY * per_block / exposure
    usual = float(np.median(state.contrasts)) if state.contrasts else 0.0
    least = max(settings.blank_contrast * usual, floor)
    if contrast > least:
        return GOOD, contrast
    message = f"light varies by {contrast:.3g} counts/s over the field, wanted over {least:.3g}"
    return Verdict("blank", f"{message}; is there beam?"), contrast


@dataclass(frozen=True, slots=True, kw_only=True)
class Sharpness:
    """Sharpness of the rims of particles in one frame, along y and x.

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

    The profile of optical density across the rim of each particle, averaged along it, is the
    edge-spread function (ISO 12233). Its mean squared second difference over 2 px is that of noise,
    which its scatter gives, plus structure as fine as that. In units of the
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
    along = [_along(axis, corrected, detections.labels) for axis in (0, 1)]
    if along[0] is None or along[1] is None:
        return state, GOOD
    share, error, step = np.array(along).T
    now = Sharpness(
        energy=float("nan") if corrected.energy is None else corrected.energy,
        provisional=corrected.provisional,
        share=share,
        error=error,
        step=step,
    )
    usual = _usual(state, now, settings.sharpness_frames)
    if usual is not None:
        low = now.share < settings.min_sharpness * usual
        low &= usual - now.share > settings.sharpness_sigma * now.error
        blurred = (*state.blurred, now)
        if low.any() and len(blurred) < settings.sharpness_frames:
            worst = float((now.share / usual)[low].min())
            message = f"rims hold {worst:.0%} of the fine structure that is usual"
            return SharpnessState(frames=state.frames, blurred=blurred), Verdict("blurred", message)
        if low.any():
            return SharpnessState(frames=blurred), GOOD
    return SharpnessState(frames=(*state.frames, now)[-_REMEMBERED:]), GOOD


def _usual(state: SharpnessState, now: Sharpness, count: int) -> Array | None:
    """Return the median share of the nearest frames in energy of like contrast, None if too few."""
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


def _along(
    axis: int, corrected: OpticalDensityFrame, labels: NDArray[np.int32]
) -> tuple[float, float, float] | None:
    """Measure the fine structure in the rims, its error, and the step: medians of the particles."""
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
    # the scatter of the lines gives the noise of their mean, of whatever kind it is
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
    """Sample optical density along an axis across the rims of particles.

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
