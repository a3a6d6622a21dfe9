"""Preparing what frames are divided by: once per flat, not once per frame."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..frames import OpticalDensityFrame
from .checks import BadFrameError
from .illumination import bright_level, coarsen
from .settings import CorrectSettings
from .state import Correction, PreparedReference

_BAND = 16384  # px, of which the temporaries stay in the cache of a processor


def prepare_flat(
    flat: NDArray[np.float32],
    dark: NDArray[np.float32] | None,
    settings: CorrectSettings,
    *,
    energy: float | None = None,
    exposure: float | None = None,
) -> PreparedReference:
    """Turn a flat into its logarithm and the mask of pixels that may be used.

    Parameters
    ----------
    flat, dark : (H, W), counts.
    energy, exposure : eV and s of the flat.

    Returns
    -------
    Reference
        Masked are: light below ``min_illumination`` of the bright level, hot and dead pixels,
        saturated and non-finite pixels, and the rim.
    """
    net = flat.astype(np.float32) if dark is None else flat - dark
    finite = np.isfinite(net)
    if not finite.all():
        net = np.where(finite, net, np.float32(0))
    level = bright_level(coarsen(net))
    floor = max(settings.min_illumination * level, np.finfo(np.float32).tiny)
    valid = (net > floor) & finite & (flat < settings.saturation)
    valid &= ~_outliers(net, settings.hot_sigma)
    _mask_rim(valid, settings.rim)
    log_counts = np.log(np.maximum(net, np.float32(floor), out=net), out=net)
    return _with_coarse(log_counts, valid, energy=energy, exposure=exposure, level=level)


def prepare_estimate(
    log_counts: NDArray[np.float32], settings: CorrectSettings
) -> PreparedReference:
    """Turn an estimated illumination, ln counts (H, W), into a reference."""
    level = float(np.exp(np.percentile(coarsen(log_counts), 95)))
    valid = log_counts > np.log(max(settings.min_illumination * level, np.finfo(np.float32).tiny))
    _mask_rim(valid, settings.rim)
    made = _with_coarse(log_counts, valid, energy=None, exposure=None, level=level)
    return replace(made, source="estimate")


def _with_coarse(
    log_counts: NDArray[np.float32],
    valid: NDArray[np.bool_],
    *,
    energy: float | None,
    exposure: float | None,
    level: float,
) -> PreparedReference:
    return PreparedReference(
        source="flat",
        energy=energy,
        exposure=exposure,
        log_counts=log_counts,
        valid=valid,
        coarse_log=coarsen(log_counts),
        coarse_valid=coarsen(valid) >= 0.5,
        level=level,
    )


def _mask_rim(valid: NDArray[np.bool_], rim: int) -> None:
    if rim:
        valid[:rim] = valid[-rim:] = False
        valid[:, :rim] = valid[:, -rim:] = False


def _outliers(net: NDArray[np.float32], sigmas: float) -> NDArray[np.bool_]:
    """Mark pixels far from the median of their four neighbours, in units of counting noise.

    Four neighbours instead of 3 x 3: their median takes a few passes instead of a sort per pixel,
    and one bad neighbour does not move it.
    """
    height, width = net.shape
    residual = np.empty((height - 2, width - 2), np.float32)
    rows = max(1, _BAND // width)
    for first in range(0, height - 2, rows):
        _residuals(net[first : first + rows + 2], out=residual[first : first + rows])
    step = -(-int(residual.size**0.5) // 256)
    noise = float(np.median(residual[::step, ::step])) / 0.6745
    marked = np.zeros(net.shape, bool)
    marked[1:-1, 1:-1] = residual > sigmas * max(noise, 1e-6)
    return marked


def _residuals(net: NDArray[np.float32], out: NDArray[np.float32]) -> None:
    """Difference from the median of the neighbours over its counting noise, inside of a band."""
    inner = net[1:-1, 1:-1]
    up, down, left, right = net[:-2, 1:-1], net[2:, 1:-1], net[1:-1, :-2], net[1:-1, 2:]
    # the middle two of four: the higher of the lower ones, and the lower of the higher ones
    middle = np.maximum(np.minimum(up, down), np.minimum(left, right))
    np.minimum(np.maximum(up, down), np.maximum(left, right), out=out)
    middle += out
    middle *= np.float32(0.5)
    np.abs(np.subtract(inner, middle, out=out), out=out)
    # Counting noise grows with the root of the counts: dividing by it lets one threshold do.
    out /= np.sqrt(np.maximum(middle, 1, out=middle), out=middle)


# One frame to optical density: one logarithm, no medians over the frame.


def apply(
    image: NDArray[Any], correction: Correction, settings: CorrectSettings
) -> OpticalDensityFrame:
    """Return the optical density -ln((image - dark) / (flat - dark)).

    Pixels without a single count through a thick particle stay valid at ``od_max``: a hole in its
    mask would move its centre.

    Parameters
    ----------
    image : (H, W), counts, the raw sample frame that `correction` is for.

    Raises
    ------
    BadFrameError
        ``shape`` if the image does not fit the reference.
    """
    reference = correction.reference
    if image.shape != reference.log_counts.shape:
        raise BadFrameError(
            "shape", f"wanted an image {reference.log_counts.shape}, got {image.shape}"
        )
    valid = reference.valid & (image < settings.saturation)
    if correction.dark is None:
        net = image.astype(np.float32)
    else:
        net = np.subtract(image, correction.dark, dtype=np.float32)
    valid &= net == net  # False for NaN, and cheaper than isfinite
    lowest = np.float32(max(reference.level * np.exp(-settings.od_max) * 1e-6, 1e-30))
    log_net = np.log(np.maximum(net, lowest, out=net), out=net)
    np.subtract(reference.log_counts, log_net, out=log_net)
    log_net += np.float32(correction.log_scale)
    od = np.clip(log_net, settings.od_min, settings.od_max, out=log_net)
    od[~valid] = 0
    return OpticalDensityFrame(
        key=correction.key,
        frame=correction.frame,
        energy=correction.energy,
        time=correction.time,
        od=od,
        valid=valid,
        sigma=_noise(od, valid),
        revision=correction.revision,
        provisional=correction.provisional,
        final=correction.final,
        estimated=reference.source == "estimate",
    )


def _noise(od: NDArray[np.float32], valid: NDArray[np.bool_]) -> float:
    """Robust rms noise, OD, from second differences along some rows; NaN without valid pixels."""
    step = max(1, od.size // 32768)
    rows, mask = od[step // 2 :: step], valid[step // 2 :: step]
    middle = rows[:, 1:-1] - (rows[:, :-2] + rows[:, 2:]) / 2
    usable = mask[:, 1:-1] & mask[:, :-2] & mask[:, 2:]
    residual = np.abs(middle[usable])
    # A second difference with weights (-1/2, 1, -1/2) has 3/2 of the variance of one pixel.
    return float(np.median(residual) / 0.6745 / np.sqrt(1.5)) if residual.size else float("nan")
