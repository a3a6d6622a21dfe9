"""Devices to run the model tests on, and small synthetic frames."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

Image = NDArray[np.float32]
Blob = tuple[float, float, float, float]  # y, x, radius, OD in the middle


@pytest.fixture(params=["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
def device(request: pytest.FixtureRequest) -> torch.device:
    if request.param == "cuda" and not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    return torch.device(request.param)


def draw(
    blobs: Sequence[Blob],
    shape: tuple[int, int] = (200, 220),
    noise: float = 0.03,
    clouds: float = 0.0,
    seed: int = 0,
) -> Image:
    """Ellipsoid-like particles with three lobes on a cloudy background, with white noise."""
    rng = np.random.default_rng(seed)
    y, x = np.indices(shape)
    image = 0.2 + clouds * gaussian_filter(rng.standard_normal(shape), 30) * 100
    for cy, cx, radius, od in blobs:
        angle = np.arctan2(y - cy, x - cx)
        rho = np.hypot(y - cy, x - cx) / (radius * (1 + 0.04 * np.cos(3 * angle + 1)))
        image += od * np.sqrt(np.clip(1 - rho**2, 0, None))
    image = gaussian_filter(image, 1.0) + noise * rng.standard_normal(shape)
    return image.astype(np.float32)


@pytest.fixture
def draw_frame() -> Callable[..., Image]:
    return draw


def to_tensor(image: Image) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(image))[None, None]


@pytest.fixture
def as_tensor() -> Callable[[Image], torch.Tensor]:
    return to_tensor
