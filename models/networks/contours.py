"""Contours of particles: soft masks that the Dual U-net draws, and their moments."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..arrays import Array, Image, Mask
from ..masks import grow, main_parts
from .inputs import ROI_CELLS, roi_sides, roi_values, standardised
from .nets import DualUNet

# By eye.
_FAR = 0.15  # error of the assumed centre, in diameters, from which the window is moved
_OFF = (0.8, 1.25)  # found over assumed diameter, outside of which the window is resized
_FEWEST = 12  # cells
_AT_A_TIME = 16  # windows
_BEYOND = 2  # cells around the contour that may be inside in part


@dataclass(frozen=True, slots=True, kw_only=True)
class Contours:
    """Windows around N particles, each with the soft mask of the one in its middle.

    Attributes
    ----------
    owner : (N,) int64, frame.
    centres : (N, 2) float64, of the windows, px. sides : (N,) float64, px.
    prior : (N,) float64, probability that there is a particle, from the search.
    share : (N, S, S) float32, probability that a cell is inside; 0 far from the contour.
    value : (N, S, S) float32, OD.
    usable : (N, S, S) bool, cells that show valid pixels of the frame.
    presence : (N,) float64, mean probability of the cells inside; 0 if there are none.
    yx : (N, 2) float64, centre of mass, px.
    area : (N,) float64, px^2.
    moments : (N, 3) float64, central second moments (yy, xx, yx), px^2.
    """

    owner: NDArray[np.int64]
    centres: Array
    sides: Array
    prior: Array
    share: Image
    value: Image
    usable: Mask
    presence: Array
    yx: Array
    area: Array
    moments: Array

    def __len__(self) -> int:
        return len(self.owner)

    @property
    def cell(self) -> Array:
        """Return the side (N,) of a cell, px."""
        return self.sides / ROI_CELLS

    @property
    def diameter(self) -> Array:
        """Return the diameter (N,) of the disc of equal area, px."""
        return 2 * np.sqrt(self.area / np.pi)

    def pick(self, which: NDArray[np.bool_] | NDArray[np.intp]) -> Contours:
        """Return some of them."""
        return Contours(**{f.name: getattr(self, f.name)[which] for f in fields(self)})


@dataclass(frozen=True, slots=True, kw_only=True)
class Tracer:
    """Draw contours with the Dual U-net.

    Attributes
    ----------
    network : ready for inference.
    """

    network: DualUNet

    def __call__(
        self,
        od: Tensor,
        valid: Tensor,
        owner: NDArray[np.int64],
        centres: Array,
        diameters: Array,
        prior: Array,
    ) -> Contours:
        """Draw the contours of particles; again in better windows where they were far off.

        Parameters
        ----------
        od : (B, 1, H, W) float32. valid : (B, 1, H, W) bool.
        owner : (N,) frame. centres : (N, 2) px. diameters : (N,) px. prior : (N,) probability.
        """
        first = self.once(od, valid, owner, centres, diameters, prior)
        shift = np.hypot(*(first.yx - centres).T)
        ratio = first.diameter / diameters
        off = (shift > _FAR * diameters) | (ratio < _OFF[0]) | (ratio > _OFF[1])
        rows = np.flatnonzero(off & (first.area > 0))
        if not len(rows):
            return first
        better = first.diameter[rows].clip(0.5 * diameters[rows], 2 * diameters[rows])
        again = self.once(od, valid, owner[rows], first.yx[rows], better, prior[rows])
        merged = {f.name: getattr(first, f.name).copy() for f in fields(first)}
        for name, values in merged.items():
            values[rows] = getattr(again, name)
        return Contours(**merged)

    def once(
        self,
        od: Tensor,
        valid: Tensor,
        owner: NDArray[np.int64],
        centres: Array,
        diameters: Array,
        prior: Array,
    ) -> Contours:
        """Draw the contours of particles in the windows asked for."""
        places = np.column_stack([centres, diameters]).astype(np.float32)
        frame, place = (torch.from_numpy(a).to(od.device) for a in (owner, places))
        sides = roi_sides(place[:, 2])
        value, usable = roi_values(od, valid, frame, place[:, :2], sides)
        kind = self.network.contour.head.weight.dtype
        roi = standardised(value, usable).to(kind).contiguous(memory_format=torch.channels_last)
        # so many that what is in between stays in the cache
        some = roi.split(_AT_A_TIME) if roi.device.type == "cpu" else (roi,)
        drawn = torch.cat([self.network(part)[1] for part in some]) if len(roi) else roi
        chance = drawn.float().sigmoid_()
        # All that leaves the device, at once.
        every = torch.cat([chance * usable, value, usable.to(value.dtype)], dim=1).cpu().numpy()
        return measured(owner, places.astype(np.float64), prior, every)


def measured(owner: NDArray[np.int64], places: Array, prior: Array, every: Image) -> Contours:
    """Make contours with their moments.

    Parameters
    ----------
    owner : (N,) frame. places : (N, 3) y, x of the centre and diameter of the window, px.
    prior : (N,) probability.
    every : (N, 3, S, S) float32: probability of the mask, OD, and whether it is valid.
    """
    share, value, usable = every[:, 0], every[:, 1], every[:, 2] > 0.5
    inside = main_parts(share > 0.5) if len(share) else share > 0.5
    count = inside.sum((1, 2))
    inside[count < _FEWEST] = False
    presence = (share * inside).sum((1, 2), dtype=np.float64) / np.maximum(count, 1)
    presence[count < _FEWEST] = 0.0
    share = share * grow(inside, _BEYOND)
    centres, sides = places[:, :2], np.asarray(roi_sides(torch.from_numpy(places[:, 2])))
    yx, area, moments = soft_moments(share, centres, sides)
    return Contours(
        owner=owner,
        centres=centres,
        sides=sides,
        prior=prior,
        share=share,
        value=value,
        usable=usable,
        presence=presence,
        yx=yx,
        area=area,
        moments=moments,
    )


def soft_moments(share: Image, centres: Array, sides: Array) -> tuple[Array, Array, Array]:
    """Compute centre of mass, area and second moments of soft masks (Su et al. 2024, eqs 2-5).

    Parameters
    ----------
    share : (N, S, S) share of each cell that is inside.
    centres : (N, 2) of the windows, px. sides : (N,) px.

    Returns
    -------
    yx : (N, 2) px; the centre of the window where the mask is empty.
    area : (N,) px^2.
    moments : (N, 3) yy, xx, yx, px^2.
    """
    cells = share.shape[-1]
    at = np.arange(cells, dtype=np.float64) - (cells - 1) / 2
    in_y, in_x = share.sum(2, dtype=np.float64), share.sum(1, dtype=np.float64)
    total = in_y.sum(1)
    some = np.maximum(total, 1e-9)
    cy, cx = in_y @ at / some, in_x @ at / some
    # A cell is not a point: it adds the moment of a square.
    yy = in_y @ at**2 / some - cy**2 + 1 / 12
    xx = in_x @ at**2 / some - cx**2 + 1 / 12
    yx = (share @ at.astype(np.float32) @ at) / some - cy * cx
    cell = sides / cells
    middle = centres + np.stack([cy, cx], 1) * cell[:, None]
    moments = np.stack([yy, xx, yx], 1) * cell[:, None] ** 2
    return middle, total * cell**2, moments
