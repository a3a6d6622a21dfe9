"""The generator takes frames of any size."""

from __future__ import annotations

import pytest
import torch

from operando.models.networks.nets import Generator


@pytest.mark.parametrize("size", [(64, 64), (61, 70), (230, 17), (8, 9)])
def test_output_has_the_shape_of_the_input(size):
    assert Generator(2, 1)(torch.zeros(2, 1, *size)).shape == (2, 1, *size)


def test_features_are_mean_and_rms_of_the_lowest_level():
    _, features = Generator(3, 1).translate(torch.randn(2, 1, 32, 32))
    assert features.shape == (2, 2 * 6 * 3)
    mean, rms = features.chunk(2, dim=1)
    assert (rms >= mean.abs() - 1e-6).all()


def test_what_is_far_away_does_not_matter():
    torch.manual_seed(0)
    network = Generator(2, 1).eval()
    image = torch.randn(1, 1, 256, 256)
    other = image.clone()
    other[..., 200:] = torch.randn(1, 1, 256, 56)
    torch.testing.assert_close(network(image)[..., :64], network(other)[..., :64])


def test_a_tile_gives_the_same_as_the_whole_frame():
    torch.manual_seed(0)
    network = Generator(2, 1).eval()
    image = torch.randn(1, 1, 256, 256)
    tile = network(image[..., 64:])[..., 64:]
    torch.testing.assert_close(tile, network(image)[..., 128:], rtol=1e-4, atol=1e-5)


def test_small_enough_for_a_cpu():
    assert sum(p.numel() for p in Generator(16, 4).parameters()) < 1_000_000


def test_seeds_determine_the_weights():
    def make(seed):
        torch.manual_seed(seed)
        return Generator(2, 1)(torch.ones(1, 1, 16, 16))

    assert torch.equal(make(3), make(3))
    assert not torch.equal(make(3), make(4))
