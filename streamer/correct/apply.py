"""One frame to optical density: one logarithm, no medians over the frame."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..frames import Corrected
from .quality import BadFrameError
from .settings import CorrectSettings
from .state import Correction


def apply(image: NDArray[Any], correction: Correction, settings: CorrectSettings) -> Corrected:
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
    return Corrected(
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
