"""Whether the whole of a frame is searched, or its known particles are followed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import ceil

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from ....models.arrays import Array
from ....models.detector import Expected
from ..frames import OpticalDensityFrame
from ..link import LinkState, Track, TrackState
from ..link.look import PlacedMask, visible_part

_UNSURE = (TrackState.TENTATIVE, TrackState.COASTING)
_LEAST_SHARE = 0.3  # of a particle that the frame must show
_CELLS = 128  # along the longer side of the frame
_REACH = 0.1  # longest jump, in units of that side
_BACKGROUND_CELLS = 3.0  # what varies more slowly is not looked at
_LIKENESS = 0.3  # least correlation of masks and image
_SHORTER = 0.25  # how much more a zero jump is worth than the longest


def expected(
    link: LinkState, corrected: OpticalDensityFrame, unsearched: int, every: int
) -> Expected | None:
    """Where to look for the particles of the next frame.

    The whole frame is searched at the start of a run, while a particle coasts or leaves the frame,
    while a new one is not confirmed yet, and every so many frames, as that is how new particles and
    lost ones are found. A particle that only its template has found in the frame before is left to
    its template until then: it was not detected when the whole frame was searched for it.

    Parameters
    ----------
    link : identities after the frame before.
    corrected : the frame; how far all particles have moved together is seen in it.
    unsearched : frames since the last search.
    every : frames from one search to the next; 1 is always.

    Returns
    -------
    The particles that were detected in the frame before; None if the whole frame is to be searched.
    """
    if link.new_run or unsearched + 1 >= every:
        return None
    if any(track.state in _UNSURE for track in link.tracks):
        return None
    seen = [t for t in link.tracks if t.state == TrackState.TRACKED and not t.confirmed]
    if not seen:
        return None
    total = predict_shift(link, corrected).shift
    shown = [_shown(track, total, corrected) for track in seen]
    if any(area < _LEAST_SHARE * track.area for track, (_, area) in zip(seen, shown, strict=True)):
        return None
    return Expected(
        centres=np.stack([yx for yx, _ in shown]),
        diameters=2 * np.sqrt(np.array([area for _, area in shown]) / np.pi),
    )


def _shown(track: Track, total: Array, corrected: OpticalDensityFrame) -> tuple[Array, float]:
    """Centre of mass (2,) px and area, px^2, of what the frame shows of a particle."""
    placed = _placed(track, total)
    part = visible_part(placed, corrected.valid)
    share = np.count_nonzero(part) / max(np.count_nonzero(placed.mask), 1)
    if share in (0.0, 1.0):
        return placed.yx, share * track.area
    off = np.argwhere(part).mean(axis=0) - np.argwhere(placed.mask).mean(axis=0)
    return placed.yx + off, share * track.area


def _placed(track: Track, total: Array) -> PlacedMask:
    """The mask of a track where it is expected; `total` is the common shift so far, px."""
    yx = track.yx + track.velocity + total
    return PlacedMask(mask=track.mask, mask_yx=track.mask_yx, yx=yx)


def predict_shift(link: LinkState, corrected: OpticalDensityFrame) -> LinkState:
    """Let the common shift be that of a frame in which nobody has detected particles yet."""
    known = (TrackState.TRACKED, TrackState.COASTING)
    masks = [_placed(t, link.shift) for t in link.tracks if t.state in known]
    shift, _ = estimate_jump(corrected.od, corrected.valid, masks)
    return replace(link, shift=link.shift + shift)


def can_coast(link: LinkState) -> bool:
    """Whether there are particles that can be kept without a detection in the next frame."""
    return not link.new_run and any(t.state == TrackState.TRACKED for t in link.tracks)


# How far all particles have moved together since the frame before, without detecting them.


def estimate_jump(
    od: NDArray[np.float32], valid: NDArray[np.bool_], masks: Sequence[PlacedMask]
) -> tuple[Array, float]:
    """Shift known masks together until they fit the image best.

    Particles are denser than what is around them, whatever the energy: the masks, drawn where they
    are expected without a common shift, and the image are averaged over cells, freed of what varies
    slowly, and cross-correlated (Lewis 1995, Fast normalized cross-correlation, Vision Interface).

    Parameters
    ----------
    od : (H, W) float32, optical density. valid : (H, W) bool, pixels that may be used.
    masks : of the particles, where they are expected.

    Returns
    -------
    shift : (2,) float64, added to the expected places to land on the particles, px, to a fraction
        of a cell of 1/128 of the frame; zero if there is no likeness.
    likeness : normalised correlation of masks and image there, -1..1; NaN without any mask.
    """
    step = ceil(max(od.shape) / _CELLS)
    drawn = _sharp(_draw(masks, step, (od.shape[0] // step, od.shape[1] // step)))
    picture = _sharp(_cells(od, valid, step))
    norm = float(np.sqrt((drawn**2).sum() * (picture**2).sum()))
    if norm == 0:
        return np.zeros(2), float("nan")
    reach = max(2, round(_REACH * _CELLS))
    values = _correlate(drawn, picture, reach) / norm
    away = np.linalg.norm(np.indices(values.shape) - reach, axis=0)
    rated = np.where(away <= reach, values, -1.0) * (1 - _SHORTER * away / reach)
    row, column = np.unravel_index(int(rated.argmax()), values.shape)
    best = float(values[row, column])
    if best < _LIKENESS:
        return np.zeros(2), best
    at = (_vertex(values[:, column], int(row)), _vertex(values[row], int(column)))
    return (np.array(at) - reach) * step, best


def _cells(od: NDArray[np.float32], valid: NDArray[np.bool_], step: int) -> Array:
    """Mean over the valid pixels of step x step cells; the median where there is none."""
    h, w = od.shape[0] // step, od.shape[1] // step
    count, total = np.zeros((h, w)), np.zeros((h, w))
    for into, pixels in ((count, valid), (total, np.where(valid, od, np.float32(0)))):
        rows = np.zeros((h, w * step))
        for i in range(step):
            rows += pixels[i : h * step : step, : w * step]
        for i in range(step):
            into += rows[:, i::step]
    seen = 2 * count >= step**2
    out = total / np.maximum(count, 1)
    return np.where(seen, out, np.median(out[seen]) if seen.any() else 0.0)


def _draw(masks: Sequence[PlacedMask], step: int, shape: tuple[int, int]) -> Array:
    """Masks in cells, from a few samples of each; what lies outside of the frame is left out."""
    out = np.zeros(shape)
    every = max(1, step // 4)
    first = every // 2
    for placed in masks:
        samples = np.argwhere(placed.mask[first::every, first::every]) * every + first
        at = (samples + placed.corner) // step
        inside = ((at >= 0) & (at < shape)).all(axis=1)
        np.add.at(out, tuple(at[inside].T), (every / step) ** 2)
    return out


def _sharp(picture: Array) -> Array:
    return picture - gaussian_filter(picture, _BACKGROUND_CELLS, mode="nearest", truncate=3.0)


def _correlate(drawn: Array, picture: Array, reach: int) -> Array:
    """Cross-correlation at shifts of up to `reach` cells, (2 reach + 1, 2 reach + 1)."""
    sizes = [16 * ceil((n + reach) / 16) for n in drawn.shape]  # quick to transform
    product = np.fft.rfft2(picture, sizes) * np.conj(np.fft.rfft2(drawn, sizes))
    values = np.roll(np.fft.irfft2(product, sizes), (reach, reach), axis=(0, 1))
    return values[: 2 * reach + 1, : 2 * reach + 1]


def _vertex(values: Array, at: int) -> float:
    """Vertex of the parabola through a peak and its neighbours."""
    if not 0 < at < len(values) - 1:
        return float(at)
    left, middle, right = values[at - 1 : at + 2]
    bend = left - 2 * middle + right
    return at + 0.5 * float((left - right) / bend) if bend < 0 else float(at)
