"""Similarity of aligned images of a particle, for estimated and for true positions.

Everything is measured on windows that are cut around given positions by one interpolation, so that
estimators, peers and the oracle (the true positions) are compared on the same footing. Contrast
changes with the energy: even the oracle does not reach a similarity of 1.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import binary_fill_holes, distance_transform_edt
from torch import Tensor

from ....models.arrays import Array, Mask
from ....models.ssim import ssim
from ...config import Settings
from ...core import assemble, correct
from ...core.assemble.chunks import frames_from_chunk
from ...core.frames import FrameKey, FrameRef, NamedDocument, Role
from ...core.register.images import crop_rois
from ...errors import FrameError
from ..simulate.simulator import Simulator

_SIDE_RADII = 2.8
"""Side of a window in radii of the particle: the silhouette and 0.4 radii around it."""
_SMALLEST_SIDE = 15
_BAND_PX = 4.0
_ENOUGH_PX = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class AlignedSsim:
    """SSIM of n adjacent aligned pairs (NaN if there are none).

    Attributes
    ----------
    mean, variance : over the pairs.
    oracle_mean, oracle_variance : of the same pairs aligned with the true positions.
    """

    n: int
    mean: float
    variance: float
    oracle_mean: float
    oracle_variance: float


def sides_of(radius: Array) -> NDArray[np.int64]:
    """Choose the side (P,) of the window of each particle, px, an odd number."""
    half = np.ceil(np.maximum(_SIDE_RADII * radius, _SMALLEST_SIDE) / 2)
    return (2 * half + 1).astype(np.int64)


def windows(od: NDArray[np.float32], yx: Array, sides: NDArray[np.int64]) -> Iterator[Tensor]:
    """Cut each frame around the positions.

    Parameters
    ----------
    od : (F, H, W) optical density, NaN where invalid.
    yx : (F, P, 2) px, NaN where a particle was not measured.
    sides : (P,) odd, px.

    Yields
    ------
    For each frame (P, 1, S, S) float32, S the largest side, NaN outside of a particle's own
    window, outside the frame, and all NaN where it was not measured.
    """
    largest = int(sides.max(initial=1))
    reach = np.abs(np.arange(largest) - largest // 2)
    own = torch.from_numpy(
        np.maximum(reach[:, None], reach[None])[None, None] <= (sides // 2)[:, None, None, None]
    )
    for frame, places in enumerate(yx):
        image = torch.from_numpy(od[frame].astype(np.float32))[None, None]
        # a place outside of everything gives a window of NaN
        rois = crop_rois(image, np.nan_to_num(places, nan=-1e4), largest)
        yield torch.where(own, rois, torch.nan)


def adjacent_ssim(
    od: NDArray[np.float32], yx: Array, radius: Array, data_range: float = 1.0
) -> NDArray[np.float32]:
    """Compute the SSIM of each particle's windows in frames f and f + 1.

    Standard constants (:func:`operando.models.ssim.ssim`); windows of 2.8 radii.

    Parameters
    ----------
    od : (F, H, W) optical density, NaN where invalid.
    yx : (F, P, 2) px, NaN where a particle was not measured.
    radius : (P,) px.
    data_range : fixed range of the data, OD.

    Returns
    -------
    (F - 1, P) float32; NaN where one of the two was not measured.
    """
    values = np.full((max(len(yx) - 1, 0), yx.shape[1]), np.nan, np.float32)
    before: Tensor | None = None
    for frame, rois in enumerate(windows(od, yx, sides_of(radius))):
        if before is not None and rois.shape[0]:
            values[frame - 1] = ssim(before, rois, data_range).numpy()
        before = rois
    return values


def compare_ssim(values: NDArray[np.float32], oracle: NDArray[np.float32]) -> AlignedSsim:
    """Put the SSIM of an estimator beside that of the oracle, on the pairs that both have.

    Parameters
    ----------
    values, oracle : of :func:`adjacent_ssim`, (F - 1, P) or columns of it.
    """
    both = np.isfinite(values) & np.isfinite(oracle)
    ours, best = values[both].astype(np.float64), oracle[both].astype(np.float64)
    nan = float("nan")
    if not ours.size:
        return AlignedSsim(n=0, mean=nan, variance=nan, oracle_mean=nan, oracle_variance=nan)
    return AlignedSsim(
        n=ours.size,
        mean=float(ours.mean()),
        variance=float(ours.var()),
        oracle_mean=float(best.mean()),
        oracle_variance=float(best.var()),
    )


# Differential maps: what is left of a particle when its first picture is taken from its last.
#
# Where the two do not lie upon each other the difference shows the rim of the particle, which is
# easily taken for chemistry. Also the true positions leave something there: particles turn, stretch
# and react between the two.


@dataclass(frozen=True, slots=True, kw_only=True)
class DifferentialMaps:
    """Medians over n particles (NaN if there are none).

    Attributes
    ----------
    residual : rms of the map on the rim over that inside.
    oracle : the same with the true positions of the same frames.
    """

    n: int
    residual: float
    oracle: float


def compare_maps(
    od: NDArray[np.float32], yx: Array, simulator: Simulator, *, average: int = 5
) -> DifferentialMaps:
    """Compare differential maps with an estimator's and with the true positions.

    Parameters
    ----------
    od : (F, H, W) optical density of the series, NaN where invalid.
    yx : (F, P, 2) positions of the true particles, px, NaN where one was not measured.
    simulator : of the series.
    average : see :func:`rim_residuals`.
    """
    there = np.isfinite(yx).all(axis=-1) & simulator.truth.whole
    ours, oracle = (
        rim_residuals(od, np.where(there[..., None], places, np.nan), simulator, average=average)
        for places in (yx, simulator.truth.yx)
    )
    both = np.isfinite(ours) & np.isfinite(oracle)
    return DifferentialMaps(
        n=int(both.sum()),
        residual=float(np.median(ours[both])) if both.any() else float("nan"),
        oracle=float(np.median(oracle[both])) if both.any() else float("nan"),
    )


def rim_residuals(
    od: NDArray[np.float32], yx: Array, simulator: Simulator, *, average: int = 5
) -> Array:
    """Divide the rms of each particle's differential map on the rim over that inside.

    The map is the last aligned picture minus the first one with a gain and an offset fitted to
    it. The rim lies within 4 px of the half-maximum contour of the noise-free particle in its
    last frame, inside is deeper than that. A constant offset of the positions does not matter.

    Parameters
    ----------
    od : (F, H, W) optical density of the series, NaN where invalid.
    yx : (F, P, 2) px, NaN where a particle was not measured.
    simulator : of the series.
    average : how many first and last measured frames make up the two pictures; one below the
        edge is mostly noise.

    Returns
    -------
    (P,) float64; NaN for particles measured in fewer than twice `average` frames.
    """
    truth = simulator.truth
    first, last = _ends(np.isfinite(yx[..., 0] + yx[..., 1]), average)
    count = np.maximum(last.sum(axis=0), 1)[:, None]
    offset = np.where(last[..., None], yx - truth.yx, 0).sum(axis=0) / count
    sides = sides_of(truth.radius)
    pictures = [_mean_windows(od, yx - offset, chosen, sides) for chosen in (first, last)]
    depth = _depths(simulator, last, int(sides.max(initial=1)))
    return np.array([_residual(*one) for one in zip(*pictures, depth, strict=True)])


def _ends(there: Mask, average: int) -> tuple[Mask, Mask]:
    """Mark the first and the last frames (F, P) of each particle that has enough of them."""
    rank = np.cumsum(there, axis=0)
    enough = there & (rank[-1] >= 2 * average)
    return enough & (rank <= average), enough & (rank > rank[-1] - average)


def _mean_windows(
    od: NDArray[np.float32], yx: Array, chosen: Mask, sides: NDArray[np.int64]
) -> Array:
    """Average the aligned picture (P, S, S) over the chosen frames, NaN where a frame has none."""
    frames = np.flatnonzero(chosen.any(axis=1))
    side = int(sides.max(initial=1))
    total = np.zeros((len(sides), side, side))
    places = np.where(chosen[..., None], yx, np.nan)[frames]
    for rois, used in zip(windows(od[frames], places, sides), chosen[frames], strict=True):
        total[used] += rois[:, 0].numpy()[used]
    return total / np.where(chosen.any(axis=0), chosen.sum(axis=0), np.nan)[:, None, None]


def _depths(simulator: Simulator, last: Mask, side: int) -> Array:
    """Measure depths of pixels (P, S, S) under the half-maximum contour, px, negative outside."""
    truth = simulator.truth
    depth = np.full((truth.n_particles, side, side), np.nan)
    newest = np.where(last.any(axis=0), len(last) - 1 - last[::-1].argmax(axis=0), -1)
    for frame in np.unique(newest[newest >= 0]):
        for patch in simulator.patches(int(frame), (0.0, 0.0)):
            if newest[patch.particle] != frame:
                continue
            image = torch.zeros(1, 1, *map(int, truth.shape))
            image[0, 0][patch.box] = torch.from_numpy(patch.moved[0] - patch.without)
            at = truth.yx[frame, patch.particle][None]
            own = np.nan_to_num(crop_rois(image, at, side)[0, 0].numpy())
            mask = np.asarray(binary_fill_holes(own > own.max() / 2), dtype=bool)
            depth[patch.particle] = _distance(mask) - _distance(~mask)
    return depth


def _distance(mask: Mask) -> Array:
    """Measure the distance of the pixels of a mask from its contour, px, 0 elsewhere."""
    away = np.asarray(distance_transform_edt(mask), dtype=np.float64)
    return np.where(mask, away - 0.5, 0.0)


def _residual(first: Array, last: Array, depth: Array) -> float:
    known = np.isfinite(first) & np.isfinite(last)
    rim, inside = known & (np.abs(depth) <= _BAND_PX), known & (depth > _BAND_PX)
    if min(rim.sum(), inside.sum()) < _ENOUGH_PX:
        return float("nan")
    fitted = rim | inside
    design = np.stack([first[fitted], np.ones(int(fitted.sum()))], axis=1)
    gain, offset = np.linalg.lstsq(design, last[fitted], rcond=None)[0]
    squares = (last - gain * first - offset) ** 2
    return float(np.sqrt(squares[rim].mean() / squares[inside].mean()))


# Raw documents as a stack of optical density, without detection or alignment.


def od_stack(documents: Iterable[NamedDocument], settings: Settings) -> NDArray[np.float32]:
    """Correct every sample frame of one run, with its own flat where there is one.

    Parameters
    ----------
    documents : one run with in-line images.
    settings : of `assemble` and `correct`.

    Returns
    -------
    (F, H, W) float32, optical density, NaN where invalid, by frame; all NaN if it is of no use.
    """
    assembler, corrector = assemble.init(settings.assemble), correct.init()
    images: dict[FrameKey, NDArray[np.float32]] = {}
    stack: dict[int, NDArray[np.float32]] = {}
    for name, doc in documents:
        assembler, outputs = assemble.update(assembler, name, doc)
        for ref in (o for o in outputs if isinstance(o, FrameRef)):
            for frame in frames_from_chunk(ref, np.asarray(ref.array)):
                sample = frame.role is Role.SAMPLE
                try:
                    corrector, jobs = correct.update(corrector, frame, settings.correct)
                except FrameError:
                    if sample:
                        corrector, number = correct.skip(corrector)
                        stack[number] = np.full(frame.image.shape, np.nan, np.float32)
                    continue
                if sample:
                    images[frame.key] = frame.image
                stack.update(_apply(jobs, images, settings))
    corrector, jobs = correct.finish(corrector, settings.correct)
    stack.update(_apply(jobs, images, settings))
    return np.stack([stack[number] for number in sorted(stack)])


def _apply(
    jobs: Iterable[correct.Correction],
    images: dict[FrameKey, NDArray[np.float32]],
    settings: Settings,
) -> dict[int, NDArray[np.float32]]:
    done = {}
    for job in jobs:
        frame = correct.apply(images[job.key], job, settings.correct)
        done[frame.frame] = np.where(frame.valid, frame.od, np.float32(np.nan))
        if job.final:
            del images[job.key]
    return done
