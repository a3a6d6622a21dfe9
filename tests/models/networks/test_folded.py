"""Folding changes how networks are computed, not what they say."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from operando.models.networks.nets import DualUNet, Generator, UNet, folded, half_pays

CPU = torch.device("cpu")


@pytest.fixture(params=[lambda: UNet(4), lambda: DualUNet(3), lambda: Generator(4, 2)])
def network(request):
    """A network whose normalisation has statistics of its own."""
    torch.manual_seed(0)
    made = request.param()
    made.train()
    for _ in range(3):
        made(0.3 + 2 * torch.randn(4, 1, 32, 32))
    return made.eval()


def outputs(network, image):
    found = network(image)
    return found if isinstance(found, tuple) else (found,)


def test_the_same_in_float32(network):
    image = torch.randn(2, 1, 64, 64)
    with torch.inference_mode():
        pairs = zip(
            outputs(network, image), outputs(folded(network, CPU, half=False), image), strict=True
        )
        for one, other in pairs:
            torch.testing.assert_close(other, one, atol=1e-4, rtol=1e-4)


def test_no_normalisation_is_left_and_the_original_stays(network):
    before = {k: v.clone() for k, v in network.state_dict().items()}
    copy = folded(network, CPU, half=False)
    assert not any(isinstance(m, nn.BatchNorm2d) for m in copy.modules())
    assert not any(p.requires_grad for p in copy.parameters())
    assert all(torch.equal(v, before[k]) for k, v in network.state_dict().items())
    assert all(p.requires_grad for p in network.parameters())


def test_half_is_near(network):
    image = torch.randn(2, 1, 32, 32)
    with torch.inference_mode():
        exact = outputs(network, image)[0]
        near = outputs(folded(network, CPU, half=True), image.bfloat16())[0]
    assert near.dtype == torch.bfloat16
    assert (near.float() - exact).abs().max() < 0.1 * exact.std() + 0.1


def test_whether_half_pays_is_known():
    assert half_pays(CPU) in (True, False)
