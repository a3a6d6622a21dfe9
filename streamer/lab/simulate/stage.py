"""A sample stage that is mounted askew and creeps, as real ones do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from ....models.arrays import Array


@dataclass(frozen=True, slots=True, kw_only=True)
class Mounting:
    """What the image does when the stage moves, and when it does not.

    Attributes
    ----------
    matrix : (2, 2) float64, from stage (y, x) to image (y, x), both as lengths: a rotation, a
        mirror image, or the identity.
    creep : (F, 2) float64, how far the sample has crept off where the stage says it is, by time
        index, px in the image; none for F = 0.
    """

    matrix: Array = field(default_factory=lambda: np.eye(2))
    creep: Array = field(default_factory=lambda: np.zeros((0, 2)))

    def crept(self, frame: int) -> Array:
        """(2,) px, the creep at a time index; it stops when its series is over."""
        return self.creep[min(frame, len(self.creep) - 1)] if len(self.creep) else np.zeros(2)

    def image_yx(self, stage_px: Sequence[float], frame: int) -> tuple[float, float]:
        """Shift of the image (y, x), px, for a stage position in px of its own axes."""
        y, x = self.matrix @ np.asarray(stage_px, dtype=np.float64) + self.crept(frame)
        return float(y), float(x)

    def px_per_um(self, pixel_size: float) -> Array:
        """(2, 2) matrix from stage um to image px; `pixel_size` um."""
        return self.matrix / pixel_size


def askew(degrees: float, *, mirrored: bool = False) -> Array:
    """Matrix of a stage turned against the camera, its x axis mirrored or not."""
    angle = np.radians(degrees)
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    return turn @ np.diag([1.0, -1.0 if mirrored else 1.0])


def steady_creep(px: float, direction_deg: float, frames: int, over: int) -> Array:
    """A creep at a constant rate, (frames, 2) px.

    Parameters
    ----------
    px : length over `over` frames. direction_deg : 0 along +x, 90 along +y. frames : in all.
    """
    angle = np.radians(direction_deg)
    return np.arange(frames)[:, None] * px / over * np.array([np.sin(angle), np.cos(angle)])
