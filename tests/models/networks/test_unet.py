"""The U-net is counted as in the paper."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from operando.models.networks import nets as module
from operando.models.networks.nets import UNet


def kernels(network: nn.Module) -> list[tuple[int, ...]]:
    return [m.kernel_size for m in network.modules() if isinstance(m, nn.Conv2d)]


@pytest.mark.parametrize("width", [2, 4])
def test_eighteen_convolutions_and_one_connected_layer(width):
    found = kernels(UNet(width))
    assert found.count((3, 3)) == 18
    assert found.count((1, 1)) == 1
    assert len(found) == 19


def test_four_down_and_four_up(monkeypatch):
    taken = []
    for name in ("max_pool2d", "interpolate"):
        call = getattr(module, name)
        monkeypatch.setattr(
            module, name, lambda *a, n=name, f=call, **k: taken.append(n) or f(*a, **k)
        )
    UNet(2)(torch.zeros(1, 1, 32, 32))
    assert taken == ["max_pool2d"] * 4 + ["interpolate"] * 4


def test_half_a_million_parameters_at_width_8():
    assert 480_000 < sum(p.numel() for p in UNet(8).parameters()) < 500_000


@pytest.mark.parametrize("shape", [(3, 1, 64, 64), (1, 1, 16, 48)])
def test_output_has_the_shape_of_the_input(shape):
    assert UNet(2)(torch.zeros(shape)).shape == shape


def test_an_image_does_not_depend_on_its_batch():
    torch.manual_seed(0)
    network = UNet(2).eval()
    images = torch.randn(4, 1, 32, 32)
    torch.testing.assert_close(network(images)[2:3], network(images[2:3]))


def test_every_pixel_reaches_far():
    torch.manual_seed(0)
    network = UNet(2).eval()
    image = torch.randn(1, 1, 64, 64, requires_grad=True)
    network(image)[0, 0, 32, 32].backward()
    assert image.grad is not None
    assert (image.grad != 0).float().mean() > 0.5
