"""What the linker looks at in one frame: detections, and tracks where they are expected."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import cast

import numpy as np
from numpy.typing import NDArray

from ...models.arrays import Array, Mask
from ...models.detections import Detections
from .masks import Placed, crop_mask, place_cut, thumbnails
from .settings import LinkSettings
from .tracks import LinkState, Track


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """One detection as the linker compares it.

    Attributes
    ----------
    placed : its mask where it lies.
    view : (T, T) float32, standardised thumbnail.
    divided : it is a share of a detection of several particles.
    """

    placed: Placed
    area: float
    moments: Array
    score: float
    cut: bool
    view: NDArray[np.float32]
    divided: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """One frame before its detections have identities.

    Attributes
    ----------
    looks : its N detections.
    tracks : T tracks, and `expected` : their masks where they are expected.
    gates : (T,) float64, how far from there they may be, px.
    valid : (H, W) bool, pixels that can be seen.
    """

    looks: tuple[Look, ...]
    tracks: tuple[Track, ...]
    expected: tuple[Placed, ...]
    gates: Array
    valid: Mask


def look_at(
    detections: Detections, od: NDArray[np.float32], divided: frozenset[int]
) -> tuple[Look, ...]:
    """Prepare the detections of a frame; the rows `divided` are shares of larger ones."""
    views = thumbnails(od, detections)
    looks = []
    for row in range(len(detections)):
        mask, mask_yx = crop_mask(detections, row)
        looks.append(
            Look(
                placed=Placed(mask=mask, mask_yx=mask_yx, yx=detections.yx[row]),
                area=float(detections.area[row]),
                moments=detections.moments[row],
                score=float(detections.score[row]),
                cut=bool(detections.cut[row]),
                view=views[row],
                divided=row in divided,
            )
        )
    return tuple(looks)


def expect(state: LinkState, total: Array) -> tuple[Placed, ...]:
    """Masks of the tracks where they are expected; `total` is the common shift so far, px."""
    return tuple(
        Placed(mask=t.mask, mask_yx=t.mask_yx, yx=t.yx + t.velocity + total) for t in state.tracks
    )


def place(track: Track, expected: Placed, look: Look, valid: Mask) -> Placed:
    """Where the mask of a track lies if it is what is seen."""
    if look.cut and track.whole:
        return place_cut(expected, look.placed.yx, valid)
    return replace(expected, yx=look.placed.yx)


def gates(state: LinkState, jump: float, settings: LinkSettings) -> Array:
    """How far from its prediction each track may be, (T,) px; `jump` is the common shift, px."""
    base = settings.gate_new_run_px if state.new_run else settings.gate_px
    misses = np.array([t.misses for t in state.tracks], dtype=float)
    size = np.sqrt(np.array([t.area for t in state.tracks]))
    speed = np.hypot(*positions([t.velocity for t in state.tracks]).T)
    # masks of large particles wander in proportion to their size
    width = np.maximum(base, 0.08 * size) + settings.gate_growth_px * misses
    width += settings.gate_per_jump * jump + 0.5 * speed
    return cast("Array", np.minimum(width, settings.gate_max_px))


def within(scene: Scene, reach: Array) -> NDArray[np.bool_]:
    """Tell which detections may lie within reach (T,), px, of where tracks are expected, (T, N)."""
    expected = positions([e.yx for e in scene.expected])
    offset = positions([look.placed.yx for look in scene.looks])[None] - expected[:, None]
    # a cut mask moves its centre by up to half of what is missing
    area = np.array([look.area for look in scene.looks])
    size = np.sqrt(np.maximum(area, np.array([[t.area] for t in scene.tracks]).reshape(-1, 1)))
    slack = 0.5 * size * np.array([look.cut for look in scene.looks], dtype=bool)
    return np.hypot(offset[..., 0], offset[..., 1]) <= reach[:, None] + slack


def positions(vectors: list[Array]) -> Array:
    """Stack vectors (2,) as (N, 2), also where there is none."""
    return np.array(vectors, dtype=np.float64).reshape(-1, 2)
