"""Moments of soft masks are those of the particles, at any size."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from operando.models.networks.contours import Tracer, measured, soft_moments
from operando.models.networks.inputs import ROI_CELLS, roi_sides

_FINE = 8


def ellipse(
    centre: tuple[float, float], axes: tuple[float, float], angle: float, window: np.ndarray
) -> np.ndarray:
    """Share of each cell of a window (y, x, side) that an ellipse covers."""
    at = ((np.arange(ROI_CELLS * _FINE) + 0.5) / (ROI_CELLS * _FINE) - 0.5) * window[2]
    y, x = (window[0] + at - centre[0])[:, None], (window[1] + at - centre[1])[None]
    u, v = np.cos(angle) * y + np.sin(angle) * x, np.cos(angle) * x - np.sin(angle) * y
    inside = (u / axes[0]) ** 2 + (v / axes[1]) ** 2 < 1
    return inside.reshape(ROI_CELLS, _FINE, ROI_CELLS, _FINE).mean((1, 3)).astype(np.float32)


@pytest.mark.parametrize("diameter", [15.0, 40.0, 110.0, 300.0])
@pytest.mark.parametrize("stretch", [1.0, 1.6])
def test_moments_are_exact_wherever_the_window_is(diameter: float, stretch: float) -> None:
    rng = np.random.default_rng(int(diameter))
    axes = (diameter / 2 * np.sqrt(stretch), diameter / 2 / np.sqrt(stretch))
    for angle in (0.0, 0.7, 2.1):
        centre = (200 + rng.random(), 300 + rng.random())
        off = rng.uniform(-0.1, 0.1, 2) * diameter
        window = np.array([*(centre + off), float(2.1 * diameter)])
        share = ellipse(centre, axes, angle, window)[None]
        yx, area, moments = soft_moments(share, window[None, :2], window[None, 2])
        np.testing.assert_allclose(yx[0], centre, atol=0.05)
        np.testing.assert_allclose(area, np.pi * axes[0] * axes[1], rtol=0.004)
        a, b = axes[0] ** 2 / 4, axes[1] ** 2 / 4
        c, s = np.cos(angle), np.sin(angle)
        expected = (a * c * c + b * s * s, a * s * s + b * c * c, (a - b) * c * s)
        # a cell at the rim adds its own square to the moments
        np.testing.assert_allclose(moments[0], expected, atol=0.01 * a)


def test_far_probability_and_other_pieces_do_not_pull(covered: Callable) -> None:
    disc, window = (100.0, 100.0, 40.0), (103.0, 98.0, 40.0)
    clean = covered(disc, window)
    haze = np.maximum(clean, 0.2).astype(np.float32)
    haze[:6, :6] = 0.9
    every = np.stack([haze, haze, np.ones_like(haze)])[None]
    found = measured(np.zeros(1, np.int64), np.array([window]), np.ones(1), every)
    np.testing.assert_allclose(found.yx[0], disc[:2], atol=0.2)
    assert found.diameter[0] == pytest.approx(40, rel=0.05)
    assert not found.share[0, :6, :6].any()
    assert found.presence[0] > 0.95


def test_an_empty_window_is_no_contour() -> None:
    every = np.full((2, 3, ROI_CELLS, ROI_CELLS), 0.3, np.float32)
    every[1, 0, 3, 3] = 1.0
    places = np.array([(50.0, 60.0, 20.0)] * 2)
    found = measured(np.zeros(2, np.int64), places, np.ones(2), every)
    assert not found.area.any()
    assert not found.presence.any()
    np.testing.assert_array_equal(found.yx, places[:, :2])


class Drawn(torch.nn.Module):
    """Draws what is above the mean of the window, and counts the windows."""

    def __init__(self) -> None:
        super().__init__()
        self.contour = torch.nn.Module()
        self.contour.head = torch.nn.Conv2d(1, 1, 1)
        self.calls: list[int] = []

    def forward(self, roi: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        self.calls.append(len(roi))
        return roi, 20 * roi


@pytest.fixture
def disc_frame() -> torch.Tensor:
    y, x = np.indices((200, 220))
    image = np.clip(20.5 - np.hypot(y - 90.3, x - 110.6), 0, 1).astype(np.float32)
    return torch.from_numpy(image)[None, None]


def trace(tracer: Tracer, od: torch.Tensor, places: list[tuple[float, float, float]]):
    rows = np.array(places)
    owner, prior = np.zeros(len(rows), np.int64), np.ones(len(rows))
    valid = torch.ones_like(od, dtype=torch.bool)
    with torch.inference_mode():
        return tracer(od, valid, owner, rows[:, :2], rows[:, 2], prior)


def test_windows_that_were_far_off_are_moved_once(disc_frame: torch.Tensor) -> None:
    network = Drawn()
    good, far, small = (90.0, 110.0, 41.0), (78.0, 118.0, 40.0), (90.0, 110.0, 27.0)
    found = trace(Tracer(network=network), disc_frame, [good, far, small])
    assert network.calls == [3, 2]
    np.testing.assert_allclose(found.yx, [(90.3, 110.6)] * 3, atol=0.15)
    np.testing.assert_allclose(found.diameter, [40.0] * 3, rtol=0.04)
    np.testing.assert_allclose(found.centres[1:], found.yx[1:], atol=2.0)
    sides = roi_sides(torch.tensor([41.0])).numpy()
    np.testing.assert_allclose(found.sides[:1], sides)


def test_good_windows_are_not_drawn_twice(disc_frame: torch.Tensor) -> None:
    network = Drawn()
    trace(Tracer(network=network), disc_frame, [(90.0, 110.0, 41.0)])
    assert network.calls == [1]
