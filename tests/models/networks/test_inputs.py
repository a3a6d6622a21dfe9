"""What the networks see does not depend on what must not matter."""

from __future__ import annotations

import math

import pytest
import torch

from operando.models.networks.inputs import (
    ROI_CELLS,
    cells,
    frame_input,
    frame_levels,
    roi_input,
    roi_sides,
    sample_windows,
)

ONE = torch.zeros(1, dtype=torch.int64)


def disc(y: float, x: float, radius: float, shape: tuple[int, int] = (300, 320)) -> torch.Tensor:
    """(1, 1, H, W) float32 disc with a rim of one pixel."""
    rows, columns = torch.meshgrid(
        *(torch.arange(n, dtype=torch.float32) for n in shape), indexing="ij"
    )
    distance = torch.hypot(rows - y, columns - x)
    return (radius + 0.5 - distance).clamp(0, 1)[None, None].float()


def centre_of_mass(image: torch.Tensor) -> tuple[float, float]:
    at = torch.arange(image.shape[-1], dtype=torch.float64)
    weight = image[0, 0].double()
    total = weight.sum()
    return float((weight.sum(1) @ at) / total), float((weight.sum(0) @ at) / total)


def full(image: torch.Tensor) -> torch.Tensor:
    return torch.ones_like(image, dtype=torch.bool)


# --- frames


def test_offset_of_a_frame_does_not_matter():
    od = torch.randn(2, 1, 40, 44) * 0.2
    shift = torch.tensor([0.7, -0.3])[:, None, None, None]
    expected = frame_input(od, full(od), 2)
    torch.testing.assert_close(frame_input(od + shift, full(od), 2), expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("step", [1, 2, 3, 4, 6])
def test_cells_are_means_and_cover_the_frame(step):
    od = torch.rand(1, 1, 31, 42)
    value, usable = cells(od, full(od), step)
    assert value.shape[-2:] == (math.ceil(31 / step), math.ceil(42 / step))
    torch.testing.assert_close(value[0, 0, 0, 0], od[0, 0, :step, :step].mean())
    assert usable[0, 0, : 31 // step, : 42 // step].all()


@pytest.mark.parametrize("wild", [1e6, math.nan, math.inf])
def test_invalid_pixels_are_not_seen(wild):
    od = torch.rand(1, 1, 40, 40)
    valid = torch.rand(1, 1, 40, 40) > 0.3
    valid[..., :10, :] = False
    spoilt = torch.where(valid, od, torch.tensor(wild))
    seen = frame_input(spoilt, valid, 2)
    assert torch.equal(seen, frame_input(od, valid, 2))
    assert (seen[..., :5, :] == 0).all()


def test_scale_is_bounded_and_keeps_faint_particles_apart():
    od = 0.02 * disc(60, 60, 20) + 6.0 * disc(150, 150, 30)
    seen = frame_input(od, full(od), 1)
    assert seen.abs().max() <= 1
    assert seen[0, 0, 60, 60] > 0.04
    assert seen[0, 0, 150, 150] > 0.99


def test_a_frame_without_valid_pixels_is_flat():
    od = torch.full((1, 1, 32, 32), math.nan)
    assert (frame_input(od, torch.zeros_like(od, dtype=torch.bool), 2) == 0).all()


def test_coarser_levels_are_those_of_larger_steps():
    od, valid = torch.rand(1, 1, 48, 64), torch.rand(1, 1, 48, 64) > 0.1
    for level, step in zip(frame_levels(od, valid, 2, 3), (2, 4, 8), strict=True):
        torch.testing.assert_close(level, frame_input(od, valid, step), atol=1e-5, rtol=0)


# --- ROIs


def test_side_is_twice_the_diameter():
    assert roi_sides(torch.tensor([10.0, 45.0])).tolist() == [20.0, 90.0]


@pytest.mark.parametrize("side", [20.0, 63.0, 64.0, 100.0, 129.0, 200.0, 280.0])
@pytest.mark.parametrize("off", [(0.0, 0.0), (3.25, -2.5)])
def test_a_point_of_the_frame_is_where_the_convention_puts_it(side, off):
    centre = torch.tensor([[148.3, 155.6]])
    y, x = 148.3 + off[0] * side / 64, 155.6 + off[1] * side / 64
    seen = sample_windows(disc(y, x, side / 5), ONE, centre, torch.tensor([side]))
    # the middle of the window is between cells 31 and 32
    middle = (ROI_CELLS - 1) / 2
    assert centre_of_mass(seen) == pytest.approx((middle + off[0], middle + off[1]), abs=0.05)


@pytest.mark.parametrize("side", [40.0, 90.0, 200.0])
def test_the_scale_is_that_of_the_side(side):
    centre = torch.tensor([[150.0, 160.0]])
    seen = sample_windows(disc(150, 160, side / 4), ONE, centre, torch.tensor([side]))
    assert float(seen.sum()) == pytest.approx(math.pi * 16**2, rel=0.03)


def test_one_of_many_frames_is_looked_at():
    images = torch.cat([disc(100, 100, 20), disc(100, 140, 20)])
    centres, sides = torch.tensor([[100.0, 100.0]] * 2), torch.tensor([80.0] * 2)
    seen = sample_windows(images, torch.tensor([0, 1]), centres, sides)
    alone = sample_windows(images[1:], ONE, centres[1:], sides[1:])
    torch.testing.assert_close(seen[1:], alone)
    assert not torch.allclose(seen[0], seen[1])


@pytest.mark.parametrize("side", [50.0, 150.0])
def test_contrast_and_offset_do_not_matter(side):
    od = 0.4 * disc(150, 150, side / 4) + 0.05 * torch.randn(1, 1, 300, 320)
    at = ONE, torch.tensor([[150.0, 150.0]]), torch.tensor([side])
    seen, _ = roi_input(od, full(od), *at)
    other, _ = roi_input(4 * od + 0.8, full(od), *at)
    torch.testing.assert_close(other, seen, atol=2e-4, rtol=0)
    assert float(seen.mean()) == pytest.approx(0, abs=1e-4)
    assert float(seen.std()) == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize("wild", [50.0, math.nan])
def test_invalid_pixels_do_not_matter(wild):
    od = disc(150, 150, 30) + 0.05 * torch.randn(1, 1, 300, 320)
    valid = full(od)
    valid[..., 160:, :] = False
    at = ONE, torch.tensor([[150.0, 150.0]]), torch.tensor([120.0])
    seen, usable = roi_input(od, valid, *at)
    spoilt, _ = roi_input(torch.where(valid, od, torch.tensor(wild)), valid, *at)
    assert torch.equal(spoilt, seen)
    assert not usable[..., 40:, :].any()
    assert (seen[~usable] == 0).all()
    assert float(seen[usable].mean()) == pytest.approx(0, abs=1e-4)


def test_beyond_the_frame_nothing_is_usable():
    od = torch.rand(1, 1, 100, 100)
    at = ONE, torch.tensor([[0.0, 50.0]]), torch.tensor([64.0])
    seen, usable = roi_input(od, full(od), *at)
    assert not usable[0, 0, :31].any()
    assert usable[0, 0, 33:].all()
    assert (seen[~usable] == 0).all()


def test_flat_and_empty_windows_stay_finite():
    flat = torch.full((1, 1, 100, 100), 0.3)
    at = ONE, torch.tensor([[50.0, 50.0]]), torch.tensor([30.0])
    assert torch.isfinite(roi_input(flat, full(flat), *at)[0]).all()
    nothing = roi_input(flat, ~full(flat), *at)
    assert (nothing[0] == 0).all()
    assert not nothing[1].any()
    none = torch.zeros(0, dtype=torch.int64), torch.zeros(0, 2), torch.zeros(0)
    assert roi_input(flat, full(flat), *none)[0].shape == (0, 1, 64, 64)
