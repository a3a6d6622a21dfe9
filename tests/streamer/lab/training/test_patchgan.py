"""The discriminator judges patches."""

from __future__ import annotations

import pytest
import torch

from operando.streamer.lab.training.unpaired import PatchDiscriminator


@pytest.mark.parametrize("layers", [1, 2, 3])
def test_one_verdict_per_patch(layers):
    verdicts = PatchDiscriminator(4, layers)(torch.zeros(2, 1, 128, 128))
    assert verdicts.shape[:2] == (2, 1)
    assert 128 // 2**layers - 3 < verdicts.shape[2] == verdicts.shape[3] <= 128 // 2**layers


def test_a_verdict_sees_34_cells():
    torch.manual_seed(0)
    # instance normalisation mixes the whole image: the patch is that of the convolutions
    network = torch.nn.Sequential(
        *(m for m in PatchDiscriminator(4).layers if not isinstance(m, torch.nn.InstanceNorm2d))
    )
    image = torch.randn(1, 1, 128, 128, requires_grad=True)
    verdicts = network(image)
    verdicts[0, 0, 15, 15].backward()
    assert image.grad is not None
    seen = torch.nonzero(image.grad[0, 0])
    assert (seen.max(0).values - seen.min(0).values + 1).tolist() == [34, 34]
