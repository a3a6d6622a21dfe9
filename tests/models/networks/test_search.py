"""Regions of several resolutions, and tiles of large frames."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from operando.models.networks.nets import Generator
from operando.models.networks.search import Regions, Search, masks_of, merged, reach


def regions(*rows: tuple[float, float, float], owner: int = 0) -> Regions:
    table = np.array(rows, np.float64).reshape(-1, 3)
    return Regions(
        owner=np.full(len(table), owner, np.int64),
        yx=table[:, :2],
        diameter=table[:, 2],
        probability=np.full(len(table), 0.9),
    )


@pytest.fixture
def generator() -> Generator:
    """Weights and statistics at random."""
    torch.manual_seed(3)
    network = Generator(4, 2)
    network.train()
    with torch.no_grad():
        for _ in range(3):
            network(torch.rand(2, 1, 64, 64) * 2 - 1)
    return network.eval()


class Bright(torch.nn.Module):
    """A generator that takes what is bright for particles."""

    def __init__(self) -> None:
        super().__init__()
        self.head = torch.nn.Conv2d(1, 1, 1)

    def translate(self, image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return 50 * (image - 0.4), torch.ones(len(image), 2)


def test_the_better_level_is_kept() -> None:
    small, large = (50.0, 50.0, 20.0), (150.0, 150.0, 200.0)
    fine = regions(small, (150.0, 152.0, 190.0))
    coarse = regions((51.0, 50.0, 22.0), large)
    found = merged([fine, coarse], [2, 8])
    assert sorted(found.diameter.tolist()) == [20.0, 200.0]


def test_what_a_coarse_level_hardly_sees_is_not_looked_at_twice() -> None:
    fine, coarse = regions((50.0, 50.0, 40.0)), regions((58.0, 47.0, 18.0), (90.0, 50.0, 18.0))
    found = merged([fine, coarse], [2, 4])
    assert found.diameter.tolist() == [40.0, 18.0]
    assert found.yx[1].tolist() == [90.0, 50.0]


def test_the_finer_of_two_good_ones_is_kept() -> None:
    found = merged([regions((50.0, 50.0, 60.0)), regions((51.0, 51.0, 63.0))], [2, 4])
    assert found.diameter.tolist() == [60.0]


def test_halves_and_the_whole_are_left_to_the_contours() -> None:
    halves = regions((100.0, 70.0, 60.0), (100.0, 130.0, 60.0))
    found = merged([halves, regions((100.0, 100.0, 95.0))], [2, 4])
    assert len(found) == 3


def test_frames_are_not_mixed() -> None:
    one, other = regions((50.0, 50.0, 40.0)), regions((50.0, 50.0, 41.0), owner=1)
    found = merged([other, one], [2, 4])
    assert found.owner.tolist() == [0, 1]
    assert len(merged([regions(), regions()], [2, 4])) == 0


@pytest.mark.parametrize(("most", "levels"), [(40.0, 1), (120.0, 1), (121.0, 2), (320.0, 3)])
def test_as_many_levels_as_the_largest_needs(most: float, levels: int) -> None:
    search = Search(
        generator=Generator(2, 1), threshold=0.5, step=2, least=15.0, most=most, tile=512
    )
    assert search.levels == levels


def test_discs_of_all_sizes_are_one_region_each() -> None:
    discs = [(60.0, 60.0, 16.0), (70.0, 160.0, 50.0), (230.0, 200.0, 190.0)]
    y, x = np.indices((340, 330))
    image = np.zeros(y.shape, np.float32)
    for cy, cx, diameter in discs:
        image[np.hypot(y - cy, x - cx) < diameter / 2] = 1.0
    image[20:23, 300:303] = 1.0
    od = torch.from_numpy(image)[None, None].repeat(2, 1, 1, 1)
    od[1] = 0
    search = Search(generator=Bright(), threshold=0.5, step=2, least=15.0, most=320.0, tile=512)
    found, look = search(od, torch.ones_like(od, dtype=torch.bool))
    assert look.features.shape == (2, 2)
    assert look.spread[0] > 0.1
    assert look.spread[1] == 0
    assert found.owner.tolist() == [0, 0, 0]
    order = np.argsort(found.diameter)
    np.testing.assert_allclose(found.yx[order], [d[:2] for d in discs], atol=0.7)
    np.testing.assert_allclose(found.diameter[order], [d[2] for d in discs], rtol=0.06)


def test_nothing_reaches_further_than_it_is_said_to(generator: Generator) -> None:
    image = torch.rand(1, 1, 256, 256)
    changed = image.clone()
    changed[..., :24, :] = 0.0
    with torch.inference_mode():
        before, after = generator(image), generator(changed)
    far = 24 + reach(generator)
    torch.testing.assert_close(before[..., far:, :], after[..., far:, :], rtol=0, atol=1e-6)
    assert (before[..., 24:40, :] - after[..., 24:40, :]).abs().max() > 1e-4


@pytest.mark.parametrize("shape", [(200, 328), (321, 203), (160, 160)])
def test_tiles_are_the_whole(generator: Generator, shape: tuple[int, int]) -> None:
    image = torch.rand(2, 1, *shape) * 2 - 1
    with torch.inference_mode():
        whole, _ = masks_of(generator, image, 4096)
        tiled, features = masks_of(generator, image, 160)
    torch.testing.assert_close(tiled, whole, rtol=0, atol=1e-5)
    assert whole.std() > 1e-3
    assert features.shape[0] == 2
