"""Two U-nets in cascade."""

from __future__ import annotations

import torch
from torch import nn

from operando.models.networks.nets import DualUNet


def test_both_halves_have_the_same_structure():
    network = DualUNet(4)
    first, second = ([p.shape for p in n.parameters()] for n in (network.clean, network.contour))
    assert first == second
    assert sum(isinstance(m, nn.Conv2d) for m in network.modules()) == 38


def test_the_contour_is_drawn_on_what_the_first_made_alone():
    torch.manual_seed(0)
    network = DualUNet(2).eval()
    clean, logits = network(torch.randn(3, 1, 64, 64))
    assert clean.shape == logits.shape == (3, 1, 64, 64)
    torch.testing.assert_close(logits, network.contour(clean))


def test_the_loss_of_the_contour_reaches_the_first_network():
    network = DualUNet(2)
    network(torch.randn(2, 1, 32, 32))[1].sum().backward()
    assert all(p.grad is not None for p in network.clean.parameters())
