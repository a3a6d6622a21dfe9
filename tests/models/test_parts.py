"""Parts of the threshold detector that work on many small images at a time."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.ndimage import (
    binary_dilation,
    binary_erosion,
    binary_fill_holes,
    gaussian_filter,
    generate_binary_structure,
    label,
)

from operando.models.masks import grow, main_parts, shrink, without_holes, without_tendrils_each
from operando.models.masks import without_tendrils as opened
from operando.models.threshold.pyramid import (
    Level,
    Mode,
    Pyramids,
    gaussian,
    refined,
    refined_part,
)
from operando.models.threshold.regions import split_necks


@pytest.fixture
def blots() -> np.ndarray:
    """Ragged masks with holes; the last is empty."""
    rng = np.random.default_rng(4)
    noise = gaussian_filter(rng.standard_normal((6, 40, 52)), (0, 2.5, 2.5))
    masks = noise > 0.1 * noise.std()
    masks[-1] = False
    return masks


@pytest.mark.parametrize("mode", ["reflect", "constant"])
@pytest.mark.parametrize("shape", [(3, 20, 31), (500, 90)])
def test_smoothing_is_that_of_scipy(shape: tuple[int, ...], mode: Mode) -> None:
    images = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    expected = gaussian_filter(images, 1.5, truncate=3, mode=mode, axes=(-2, -1))
    np.testing.assert_allclose(gaussian(images, 1.5, 3, mode), expected, atol=2e-6)


@pytest.mark.parametrize("factor", [1, 2, 8])
def test_a_part_of_a_finer_grid_is_that_of_the_whole(factor: int) -> None:
    value = np.random.default_rng(1).standard_normal((9, 7)).astype(np.float32)
    whole = refined(value, factor)
    assert whole.shape == (9 * factor, 7 * factor)
    for rows, columns in (
        (slice(0, 9 * factor), slice(0, 7 * factor)),
        (slice(factor, 3 * factor + 1), slice(5 * factor - 1, 7 * factor)),
    ):
        found = refined_part(value, factor, rows, columns)
        np.testing.assert_allclose(found, whole[rows, columns], atol=1e-6)


def test_the_largest_part_of_each_mask(blots: np.ndarray) -> None:
    for mask, found in zip(blots, main_parts(blots), strict=True):
        labels = np.zeros(mask.shape, np.int32)
        label(mask, output=labels)
        areas = np.bincount(labels.ravel())[1:]
        expected = labels == 1 + areas.argmax() if len(areas) else mask
        np.testing.assert_array_equal(found, expected)


def test_holes_of_each_mask(blots: np.ndarray) -> None:
    for mask, found in zip(blots, without_holes(blots), strict=True):
        # Holes end where cells touch by their sides, as do the fillings.
        np.testing.assert_array_equal(found, binary_fill_holes(mask))
        np.testing.assert_array_equal(found, without_holes(mask))


def test_each_mask_is_opened_by_its_own_radius(blots: np.ndarray) -> None:
    radii = np.array([1, 3, 2, 1, 2, 3])
    found = without_tendrils_each(blots, radii)
    for mask, radius, out in zip(blots, radii, found, strict=True):
        np.testing.assert_array_equal(out, opened(mask, int(radius)))


def test_regions_are_cut_alike_alone_and_together() -> None:
    y, x = np.indices((70, 90))

    def disc(cy: float, cx: float, radius: float) -> np.ndarray:
        return np.hypot(y - cy, x - cx) < radius

    pair = disc(30, 28, 20) | disc(36, 62, 17)
    masks = [pair, disc(35, 45, 25), pair[:60, 5:85], (disc(20, 20, 12) | disc(22, 40, 11))[:40]]
    together = split_necks(masks, 0.87)
    assert [len(depths) for _, depths in together] == [2, 1, 2, 2]
    for mask, (labels, depths) in zip(masks, together, strict=True):
        alone, same = split_necks([mask], 0.87)[0]
        np.testing.assert_array_equal(labels, alone)
        assert depths == same
        # Large ones are cut at every other cell, which loses some at the rim.
        assert not labels[~mask].any()
        assert np.count_nonzero(labels) > 0.95 * np.count_nonzero(mask)


def test_wide_necks_are_left() -> None:
    y, x = np.indices((60, 80))
    bean = (np.hypot(y - 30, x - 32) < 20) | (np.hypot(y - 30, x - 44) < 20)
    assert len(split_necks([bean], 0.87)[0][1]) == 1
    assert split_necks([], 0.87) == []


def test_kept_weights_do_not_outlive_what_was_valid() -> None:
    rng = np.random.default_rng(2)
    frames = [torch.from_numpy(rng.random((1, 1, 50, 70), np.float32)) for _ in range(4)]
    full = torch.ones((1, 1, 50, 70), dtype=torch.bool)
    cut = full.clone()
    cut[..., 40:] = False
    kept = Pyramids(4)

    def stack(levels: list[Level]) -> list[np.ndarray]:
        return [a for level in levels for a in (level.value, level.weight)]

    for od, valid in zip(frames, (full, cut, cut, full), strict=True):
        ours, fresh = stack(kept(od, valid)[0]), stack(Pyramids(4)(od, valid)[0])
        assert all(np.array_equal(a, b) for a, b in zip(ours, fresh, strict=True))
    cut[..., 30:] = False  # the caller's own tensor: what is kept is a copy
    ours, fresh = stack(kept(frames[0], cut)[0]), stack(Pyramids(4)(frames[0], cut)[0])
    assert all(np.array_equal(a, b) for a, b in zip(ours, fresh, strict=True))


@pytest.mark.parametrize("shape", [(1, 1), (1, 5), (5, 1), (2, 2), (3, 7, 9), (2, 6, 2)])
def test_growing_and_shrinking_stay_within_each_row(shape: tuple[int, ...]) -> None:
    cross = generate_binary_structure(2, 1)
    structure = cross if len(shape) == 2 else cross[None]
    rng = np.random.default_rng(5)
    for density in (0.2, 0.8):
        mask = rng.random(shape) < density
        for times in (1, 2):
            expected = binary_dilation(mask, structure, iterations=times)
            np.testing.assert_array_equal(grow(mask, times), expected)
            expected = binary_erosion(mask, structure, iterations=times)
            np.testing.assert_array_equal(shrink(mask, times), expected)
        turned = np.swapaxes(mask, -1, -2)  # not contiguous
        np.testing.assert_array_equal(grow(turned), binary_dilation(turned, structure))
