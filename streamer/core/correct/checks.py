"""Frames that cannot be used are refused before they touch the state."""

from __future__ import annotations

import numpy as np

from ...errors import FrameError
from ..frames import Frame
from .settings import CorrectSettings


class BadFrameError(FrameError):
    """A frame that cannot be corrected; `reason` is blank, saturated, nan or shape."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


def check_pixels(frame: Frame, settings: CorrectSettings) -> None:
    """Refuse a frame that is not a plain picture.

    Raises
    ------
    BadFrameError
        ``shape`` (not two-dimensional, or empty), ``nan`` (more than half of the pixels are not
        finite) or ``saturated``.
    """
    image = frame.image
    if image.ndim != 2 or min(image.shape) < 8:
        raise BadFrameError(
            "shape", f"wanted an image (H, W) of at least 8 x 8 px, got shape {image.shape}"
        )
    sample = image[:: max(1, image.shape[0] // 256), :: max(1, image.shape[1] // 256)]
    if np.isfinite(sample).mean() < 0.5:
        raise BadFrameError(
            "nan", "more than half of the pixels are not finite; check the detector"
        )
    saturated = float((sample >= settings.saturation).mean())
    if saturated > settings.max_saturated:
        raise BadFrameError(
            "saturated",
            f"{saturated:.0%} of the pixels are at or above {settings.saturation:g} counts; "
            "shorten the exposure",
        )


def check_shape(frame: Frame, known: tuple[int, int] | None) -> None:
    """Refuse a frame whose shape differs from the frames before it."""
    if known is not None and known != frame.image.shape:
        raise BadFrameError(
            "shape",
            f"frame {frame.image.shape} does not fit the frames before it {known}; "
            "was the camera's binning or region changed within the run?",
        )


def check_light(level: float, usual: float | None, settings: CorrectSettings) -> None:
    """Refuse a frame without light: `level` is far below `usual` (same units), or not positive."""
    floor = 0.0 if usual is None else settings.blank_level * usual
    if not level > floor:
        raise BadFrameError(
            "blank", f"bright level {level:.4g} is not above {floor:.4g}; is there beam?"
        )
