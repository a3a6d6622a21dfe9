"""Resampling: accuracy, signs, edges, invalid pixels."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from operando.models.warp import point_sampler, resample


def identity_map(height: int, width: int) -> torch.Tensor:
    yx = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    return torch.stack(yx, -1).float()[None]


def blob(height: int, width: int, yx: tuple[float, float], sigma: float = 6.0) -> torch.Tensor:
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    r2 = (y - yx[0]).double() ** 2 + (x - yx[1]).double() ** 2
    return torch.exp(-r2 / (2 * sigma**2)).float()[None, None]


def centre(image: torch.Tensor) -> np.ndarray:
    im = torch.nan_to_num(image[0, 0].double()).numpy()
    y, x = np.indices(im.shape)
    return np.array([(im * y).sum(), (im * x).sum()]) / im.sum()


def test_identity_is_exact_everywhere(device: torch.device) -> None:
    image = torch.rand(2, 1, 37, 53, device=device)
    out = resample(image, identity_map(37, 53).expand(2, -1, -1, -1).to(device))
    torch.testing.assert_close(out, image, rtol=0, atol=1e-4)


@pytest.mark.parametrize("shift", [(0.21, 0.0), (-0.37, 0.79), (3.5, -2.25), (0.001, -0.002)])
def test_moves_content_by_the_shift(device: torch.device, shift: tuple[float, float]) -> None:
    image = blob(80, 90, (38.3, 44.8)).to(device)
    yx = identity_map(80, 90).to(device) - torch.tensor(shift, device=device)
    moved = centre(resample(image, yx).cpu()) - centre(image.cpu())
    np.testing.assert_allclose(moved, shift, atol=1e-3)


@pytest.mark.parametrize("fraction", [0.1, 0.3, 0.5, 0.85])
def test_reproduces_a_ramp_and_nearly_a_quadratic(fraction: float) -> None:
    y, x = torch.meshgrid(torch.arange(30.0), torch.arange(40.0), indexing="ij")
    yx = identity_map(30, 40)[:, 2:-3, 2:-3] + torch.tensor([fraction, 1 - fraction])
    v, u = yx[0].unbind(-1)
    ramp = (3 * y - 2 * x)[None, None]
    torch.testing.assert_close(resample(ramp, yx)[0, 0], 3 * v - 2 * u, atol=1e-3, rtol=0)
    bowl = (0.01 * y * y - 0.02 * x * y + 0.3 * x)[None, None]
    expected = 0.01 * v * v - 0.02 * u * v + 0.3 * u
    torch.testing.assert_close(resample(bowl, yx)[0, 0], expected, atol=2e-3, rtol=0)


def test_nothing_wraps_around_and_outside_is_nan() -> None:
    image = torch.rand(1, 1, 20, 30)
    out = resample(image, identity_map(20, 30) - torch.tensor([4.0, -7.0]))
    assert torch.isnan(out[0, 0, :4]).all()
    assert torch.isnan(out[0, 0, :, -7:]).all()
    torch.testing.assert_close(out[0, 0, 4:, :-7], image[0, 0, :-4, 7:])


def test_a_fraction_needs_the_whole_support() -> None:
    image = torch.rand(1, 1, 20, 30)
    nan = torch.isnan(resample(image, identity_map(20, 30) + torch.tensor([0.5, 0.0])))[0, 0]
    assert nan[[0, -2, -1]].all()
    assert not nan[1:-2].any()


def test_invalid_and_non_finite_pixels_spread_by_the_support_only() -> None:
    image = torch.rand(1, 1, 20, 30)
    image[0, 0, 10, 12] = torch.inf
    valid = torch.ones_like(image, dtype=torch.bool)
    valid[0, 0, 5, 20] = False
    whole = torch.isnan(resample(image, identity_map(20, 30), valid))[0, 0]
    assert whole.nonzero().tolist() == [[5, 20], [10, 12]]
    half = torch.isnan(resample(image, identity_map(20, 30) + torch.tensor([0.0, 0.5]), valid))
    assert half[0, 0, 10].nonzero().flatten().tolist() == [0, 10, 11, 12, 13, 28, 29]
    assert half[0, 0, 5].nonzero().flatten().tolist() == [0, 18, 19, 20, 21, 28, 29]
    assert not half[0, 0, 9, 1:-2].any()


def test_nan_and_far_coordinates_give_nan() -> None:
    yx = identity_map(8, 8)
    yx[0, 0, 0] = torch.nan
    yx[0, 1, 1] = 1e9
    yx[0, 2, 2] = -torch.inf
    nan = torch.isnan(resample(torch.rand(1, 1, 8, 8), yx))[0, 0]
    assert nan.nonzero().tolist() == [[0, 0], [1, 1], [2, 2]]


def test_output_may_be_a_window_and_batch_rows_do_not_mix() -> None:
    images = torch.rand(2, 1, 40, 50)
    maps = torch.cat([identity_map(10, 12) + 3, identity_map(10, 12) + 20])
    out = resample(images, maps)
    torch.testing.assert_close(out[0, 0], images[0, 0, 3:13, 3:15])
    torch.testing.assert_close(out[1, 0], images[1, 0, 20:30, 20:32])


def test_points_are_sampled_as_images_are() -> None:
    image = blob(40, 50, (18.3, 25.1))
    image[0, 0, 30, 10] = torch.nan
    places = torch.rand(3, 200, 2, generator=torch.Generator().manual_seed(1)) * 60 - 5
    sample = point_sampler(image)
    found = sample(places)
    expected = resample(image, places[None])[0, 0]
    # between pixels both need the same sixteen
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=1e-5, equal_nan=True)
    assert 200 < torch.isfinite(found).sum() < found.numel()
    assert torch.isnan(sample(torch.tensor([[[30.5, 11.5]]]))).all()


def test_points_of_a_lattice_are_sampled_as_any_points_are() -> None:
    image = blob(40, 50, (18.3, 25.1))
    image[0, 0, 30, 10] = torch.nan
    steps = torch.cartesian_prod(torch.arange(-9.5, 10), torch.arange(-6.5, 7))
    places = torch.tensor([[20.3, 25.9], [4.1, 47.75], [35.0, 11.0]])[:, None] + steps
    found = point_sampler(image, lattice=True)(places)
    assert 100 < torch.isnan(found).sum() < 500
    torch.testing.assert_close(
        found, point_sampler(image)(places), atol=1e-5, rtol=0, equal_nan=True
    )
