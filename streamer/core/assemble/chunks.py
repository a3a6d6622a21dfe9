"""Turn the pixels of one event into frames."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import FrameError
from ..frames import Frame, FrameRef
from .values import MalformedDocument
from .values import pixels as real_pixels

# The noise of a mean is sampled: grid of tiles, px kept along each side, pairs of exposures. By
# eye: several hundred differences in each tile, at a cost well below that of the mean.
_TILES = 8
_SAMPLED_SIDE = 96
_PAIRS = 4
_MAD_TO_SIGMA = 1.4826  # of a normal distribution


class NanError(FrameError):
    """All pixels of an event are NaN."""

    reason = "nan"


def frames_from_chunk(ref: FrameRef, pixels: NDArray[Any]) -> list[Frame]:
    """Make the frames of one event, averaged or kept apart as `ref.chunk` says.

    Parameters
    ----------
    ref : where the pixels come from.
    pixels : (H, W), (n, H, W) or (1, n, H, W), real numbers, detector counts. Exposures that are
        NaN all over are left out of a mean.

    Returns
    -------
    frames : one frame with the mean, its noise and `n_averaged`; or n frames whose
        `key.index` counts on from that of `ref`.

    Raises
    ------
    FrameError
        If the pixels have another shape, no size, no numbers, or (to be averaged) are NaN all over.
    """
    where = f"event {ref.key.seq_num} of stream {ref.key.stream!r}"
    try:
        chunk = real_pixels(pixels)
    except MalformedDocument as error:
        raise FrameError(f"{where}: {error}; assemble.image_key may name the wrong key") from error
    chunk = chunk[np.newaxis] if chunk.ndim == 2 else chunk
    n_averaged = 1
    if ref.chunk == "mean":
        # The first pixel of a good image is a number, which saves the look at all others.
        bad = [bool(np.isnan(image[0, 0])) and bool(np.isnan(image).all()) for image in chunk]
        if all(bad):
            raise NanError(f"{where}: all pixels are NaN; check the detector's output")
        chunk = chunk[~np.array(bad)] if any(bad) else chunk
        n_averaged = len(chunk)
    # if split, each is a frame of its own, and refused as such if it is no good
    averaged = n_averaged > 1
    images = [_mean(chunk)] if averaged else [np.array(image, np.float32) for image in chunk]
    return [
        Frame(
            key=replace(ref.key, index=ref.key.index + i),
            role=ref.role,
            energy=ref.energy,
            exposure=ref.exposure,
            time=ref.time,
            image=image,
            n_averaged=n_averaged,
            noise=noise_of_mean(chunk) if averaged else None,
        )
        for i, image in enumerate(images)
    ]


def _mean(chunk: NDArray[Any]) -> NDArray[np.float32]:
    # Sums of up to 256 16-bit counts are exact in float32, at half the cost.
    exact = chunk.dtype.kind in "bui" and chunk.dtype.itemsize <= 2 and len(chunk) <= 256
    total = chunk[0].astype(np.float32 if exact else np.float64)
    for image in chunk[1:]:
        total += image
    total /= len(chunk)
    return total.astype(np.float32, copy=False)


def noise_of_mean(chunk: NDArray[Any]) -> float:
    """Measure the pixel noise of the mean of repeated exposures from their spread.

    Differences of neighbouring exposures hold noise and nothing of the image; their median (a
    change of the flux) is taken off, and the median absolute deviation in each tile is robust
    against hot pixels and edges that moved. Tiles are combined as rms, because the noise follows
    the illumination.

    Parameters
    ----------
    chunk : (n, H, W), n >= 2, detector counts.

    Returns
    -------
    noise : counts rms of one pixel of the mean; 0 if the exposures are equal.
    """
    n, height, width = chunk.shape
    steps = -(-height // _SAMPLED_SIDE), -(-width // _SAMPLED_SIDE)
    sampled = chunk[: _PAIRS + 1, :: steps[0], :: steps[1]].astype(np.float32)
    differences = sampled[1:] - sampled[:-1]
    finite = np.isfinite(differences)
    median = np.median
    if not finite.all():
        median = np.nanmedian
        differences[~finite] = np.nan
        differences = differences[finite.any(axis=(1, 2))]
    if len(differences) == 0:
        return 0.0
    differences -= median(differences, axis=(1, 2), keepdims=True)
    # at most 8 x 8 tiles, as rows of their pixels; the rest is cropped
    count, height, width = differences.shape
    rows, columns = min(_TILES, height), min(_TILES, width)
    h, w = height // rows, width // columns
    cropped = differences[:, : rows * h, : columns * w].reshape(count, rows, h, columns, w)
    tiles = cropped.transpose(1, 3, 0, 2, 4).reshape(rows * columns, count * h * w)
    deviations = np.abs(tiles)
    deviations = deviations[np.isfinite(deviations).any(axis=1)]
    sigma = median(deviations, axis=1) * _MAD_TO_SIGMA
    # Where counts are so few that most differences are 0, the plain rms is all there is.
    plain = np.nanmean(deviations.astype(np.float64) ** 2, axis=1)
    variance = np.where(sigma > 0, sigma.astype(np.float64) ** 2, plain)
    return float(np.sqrt(np.mean(variance) / 2.0 / n))


def shape_mismatch(ref: FrameRef, pixels: NDArray[Any]) -> str | None:
    """Return one line if the pixels of a file have another (H, W) than was declared, else None."""
    actual = tuple(pixels.shape[-2:])
    if ref.declared is None or actual == tuple(ref.declared):
        return None
    key = ref.key
    return (
        f"{key.data_key!r} of stream {key.stream!r} is declared {tuple(ref.declared)} "
        f"but holds images of {actual}; using what it holds"
    )
