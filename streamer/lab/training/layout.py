"""Arrange the particles of a training frame: apart, in heaps, over each other, cut by the rim."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ....models.arrays import Array
from ..simulate.electrode import rotation
from ..simulate.settings import SimSettings
from ..simulate.shapes import Body

# By eye.
_CANDIDATES = 48
_ANGLES = 72
_TRIES = 6
_SHRINK = 0.85
_LEAST = 0.7
_RIM = 6.0
_STACKED = 0.2
_NEAR = 0.25


@dataclass(frozen=True, slots=True, kw_only=True)
class BodyPose:
    """A body in a frame: `yx` (2,) px, its centre of mass; `linear` (2, 2) from body to frame."""

    body: Body
    yx: Array
    linear: Array

    @property
    def radius(self) -> float:
        """Return the equal-area radius in the frame, px."""
        return self.body.radius * float(np.sqrt(abs(np.linalg.det(self.linear))))


def arrange(
    rng: np.random.Generator, cast: Sequence[Body], settings: SimSettings
) -> list[BodyPose]:
    """Place bodies in a frame.

    Each is turned, mirrored, stretched and scaled, then laid beside another one (share
    `touching`; of these some leave a gap of a few pixels and some lie over the other) or where
    there is room. It shrinks until it fits, and is left out if it does not.

    Parameters
    ----------
    rng : source of randomness.
    cast : what may be placed; every one at most once.
    settings : of the frame.

    Returns
    -------
    At most as many as there are bodies.
    """
    placed: list[BodyPose] = []
    reaches: list[Array] = []
    for body in cast:
        linear = _linear(rng, settings.irregularity)
        for _ in range(_TRIES):
            reach = _reach(body, linear)
            if reach.mean() < _LEAST * settings.radius_px[0]:
                break
            beside = bool(placed) and rng.random() < settings.touching
            spot = _spot(rng, reach, placed, reaches, settings, beside=beside)
            if spot is not None:
                placed.append(BodyPose(body=body, yx=spot, linear=linear))
                reaches.append(reach)
                break
            linear = linear * _SHRINK
    return placed


def _linear(rng: np.random.Generator, irregularity: float) -> Array:
    """Draw rotation, mirror, stretch of at most 2.2 at constant area, and scale."""
    stretch = np.exp(np.clip(rng.normal(0, 0.05 + 0.18 * irregularity), -0.4, 0.4))
    first, second = rotation(rng.uniform(0, 2 * np.pi, 2))
    flip = np.diag([1.0, rng.choice([-1.0, 1.0])])
    scale = np.exp(rng.uniform(-0.25, 0.15))
    return scale * first @ np.diag([stretch, 1 / stretch]) @ second @ flip


def _reach(body: Body, linear: Array) -> Array:
    """Measure distances (72,) of the contour from the centre of mass, by angle, px."""
    outline = body.points(180) @ linear.T
    angle = np.arctan2(outline[:, 0], outline[:, 1])
    order = np.argsort(angle)
    wanted = np.linspace(-np.pi, np.pi, _ANGLES, endpoint=False)
    distance = np.hypot(*outline.T)[order]
    return np.interp(wanted, angle[order], distance, period=2 * np.pi)


def _towards(reach: Array, angle: Array) -> Array:
    index = np.rint((angle + np.pi) * _ANGLES / (2 * np.pi)).astype(int) % _ANGLES
    return reach[index]


def _spot(
    rng: np.random.Generator,
    reach: Array,
    placed: list[BodyPose],
    reaches: list[Array],
    settings: SimSettings,
    *,
    beside: bool,
) -> Array | None:
    """Find a centre (2,) where the body fits, None if there is none."""
    partner = int(rng.integers(len(placed))) if beside else None
    overlap = 0.0
    if partner is None:
        spots = _anywhere(rng, reach, settings)
    else:
        overlap = _overlap(rng, min(reach.mean(), reaches[partner].mean()))
        spots = _beside(rng, reach, placed[partner].yx, reaches[partner], overlap)
        spots = spots[_in_frame(spots, reach, settings)]
    for i, (other, its) in enumerate(zip(placed, reaches, strict=True)):
        if not len(spots):
            return None
        gap = -max(overlap, 1.0) - 1.0 if i == partner else -1.0 if beside else 3.0
        spots = spots[_gap(spots, reach, other.yx, its) >= gap]
    return spots[0] if len(spots) else None


def _overlap(rng: np.random.Generator, radius: float) -> float:
    """Draw how deep a body reaches into its partner, px; negative for a gap."""
    kind = rng.random()
    if kind < _STACKED:
        return float(rng.uniform(0.1, 1.2) * radius)
    return float(rng.uniform(-4.0, -1.0) if kind < _STACKED + _NEAR else rng.uniform(0.5, 2.0))


def _beside(
    rng: np.random.Generator, reach: Array, other: Array, its: Array, overlap: float
) -> Array:
    angle = rng.uniform(-np.pi, np.pi, _CANDIDATES)
    away = _towards(its, angle) + _towards(reach, angle + np.pi) - overlap
    return other + away[:, None] * np.stack([np.sin(angle), np.cos(angle)], 1)


def _anywhere(rng: np.random.Generator, reach: Array, settings: SimSettings) -> Array:
    size = np.array(settings.shape, float)
    inset = -0.4 * reach.mean() if settings.allow_cut else reach.max() + _RIM
    low = np.minimum(inset, size / 2)
    spots = rng.uniform(low, size - low, (_CANDIDATES, 2))
    return spots[_in_frame(spots, reach, settings)]


def _in_frame(spots: Array, reach: Array, settings: SimSettings) -> NDArray[np.bool_]:
    inset = -0.4 * reach.mean() if settings.allow_cut else reach.max() + _RIM
    return np.all((spots >= inset) & (spots <= np.array(settings.shape) - inset), axis=1)


def _gap(spots: Array, reach: Array, other: Array, its: Array) -> Array:
    """Measure the distance between contours on the line between the centres, px; (N,)."""
    step = spots - other
    angle = np.arctan2(step[:, 0], step[:, 1])
    return np.hypot(*step.T) - _towards(its, angle) - _towards(reach, angle + np.pi)
