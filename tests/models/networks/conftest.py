"""Contours of known particles, as if the Dual U-net had drawn them without a flaw."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from operando.models.networks.contours import Contours, measured
from operando.models.networks.inputs import ROI_CELLS, roi_sides, roi_values

Disc = tuple[float, float, float]  # y, x, diameter
_FINE = 8


def cover(disc: Disc, window: Disc) -> NDArray[np.float32]:
    """Share of each cell of a window that a disc covers."""
    side = float(roi_sides(torch.tensor(window[2])))
    at = ((np.arange(ROI_CELLS * _FINE) + 0.5) / (ROI_CELLS * _FINE) - 0.5) * side
    y, x = window[0] + at - disc[0], window[1] + at - disc[1]
    inside = np.hypot(y[:, None], x) < disc[2] / 2
    return inside.reshape(ROI_CELLS, _FINE, ROI_CELLS, _FINE).mean((1, 3), dtype=np.float32)


def trace(
    image: NDArray[np.float32],
    discs: Sequence[Disc],
    valid: NDArray[np.bool_] | None = None,
    windows: Sequence[Disc] | None = None,
) -> Contours:
    """Contours of discs in an image, whatever it shows."""
    places = np.array(windows or discs, np.float64)
    od = torch.from_numpy(image)[None, None]
    good = torch.ones_like(od, dtype=torch.bool)
    if valid is not None:
        good[0, 0] = torch.from_numpy(valid)
    owner = np.zeros(len(discs), np.int64)
    place = torch.from_numpy(places.astype(np.float32))
    sides = roi_sides(place[:, 2])
    value, usable = roi_values(od, good, torch.from_numpy(owner), place[:, :2], sides)
    share = np.stack([cover(d, (*w,)) for d, w in zip(discs, places.tolist(), strict=True)])
    every = np.stack([share * usable[:, 0].numpy(), value[:, 0].numpy(), usable[:, 0].numpy()], 1)
    return measured(owner, places, np.ones(len(discs)), every.astype(np.float32))


@pytest.fixture
def traced() -> Callable[..., Contours]:
    return trace


@pytest.fixture
def covered() -> Callable[[Disc, Disc], NDArray[np.float32]]:
    return cover
