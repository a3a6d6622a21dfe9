import numpy as np
import pytest
from scipy.ndimage import label

from operando.streamer.lab.training.scenes import random_scenes
from operando.streamer.lab.training.targets import (
    REGIMES,
    cells_of,
    generator_target,
    lit,
    regimes_of,
    rois,
)


def touching(gap=0, at=16, slope=0.0):
    """Two rectangles (32 x 64) side by side, or along a slanted border."""
    y, x = np.indices((32, 64))
    border = at + slope * y
    labels = np.zeros((32, 64), np.int32)
    labels[(x < border) & (x > 2)] = 1
    labels[(x >= border + gap) & (x < 60)] = 2
    labels[:3] = labels[-3:] = 0
    return labels


def parts(mask):
    return label(mask, np.ones((3, 3)))[1]


@pytest.mark.parametrize("step", [1, 2, 3, 4])
@pytest.mark.parametrize("at", [20, 21, 22, 23])
@pytest.mark.parametrize("gap", [0, 1])
@pytest.mark.parametrize("slope", [0.0, 0.4, -0.3])
def test_the_seam_survives_in_cells_and_stays_narrow(step, at, gap, slope):
    labels = touching(gap, at, slope)[:24, :60]
    target = generator_target(labels, step)
    mask = target > 0.5
    assert parts(mask) == 2
    full = generator_target((labels > 0).astype(np.int32), step) > 0.5
    lost = (full & ~mask).sum(axis=1)
    assert lost.max() <= 3 + abs(slope) * 2


def test_cells_hold_the_share_of_valid_pixels_that_is_particle():
    labels = np.zeros((4, 4), np.int32)
    labels[0, 0] = labels[2:, :2] = 1
    valid = np.ones((4, 4), bool)
    np.testing.assert_allclose(generator_target(labels, 2, valid), [[0.25, 0], [1, 0]])
    valid[0, 1] = valid[1] = False
    assert generator_target(labels, 2, valid)[0, 0] == 1.0
    assert generator_target(labels, 2, np.zeros((4, 4), bool)).max() == 0
    np.testing.assert_array_equal(cells_of(labels, np.array([True]), 2), [[1, 0], [1, 0]])
    assert not cells_of(labels, np.array([False]), 2).any()
    with pytest.raises(ValueError, match="multiples of 3"):
        generator_target(labels, 3)


def test_lit_closes_single_pixels_and_keeps_dark_sides():
    valid = np.ones((40, 40), bool)
    valid[20, 20] = valid[10, 5:30] = False
    valid[:, 30:] = False
    found = lit(valid)
    assert found[20, 20]
    assert found[10, 10]
    assert not found[:, 33:].any()


def test_rois_are_centred_as_a_detector_would():
    rng = np.random.default_rng(0)
    found, empty = 0, 0
    for scene in (s for seed in range(6) for s in random_scenes(seed, 4)):
        windows = rois(scene, rng, jitter=0.2, scale=(0.8, 1.3), negatives=0.3)
        own = windows.particle >= 0
        for centre, side, particle in zip(
            windows.centres[own], windows.sides[own], windows.particle[own], strict=True
        ):
            found += 1
            seen = (scene.labels == particle + 1) & scene.valid
            diameter = 2 * np.sqrt(seen.sum() / np.pi)
            middle = np.argwhere(seen).mean(axis=0)
            assert np.hypot(*(centre - middle)) <= 0.2 * diameter + 1e-3
            assert 1.6 * diameter - 1e-3 <= side <= 2.6 * diameter + 1e-3
        for centre in windows.centres[~own]:
            empty += 1
            y, x = np.rint(centre).astype(int)
            around = scene.labels[max(0, y - 1) : y + 2, max(0, x - 1) : x + 2]
            # background, or the border between two
            assert (around == 0).any() or len(np.unique(around)) > 1
    assert found > 20
    assert 0.15 < empty / (found + empty) < 0.45


def test_scenes_without_particles_give_negatives_only():
    empty = next(s for seed in range(200) for s in random_scenes(seed, 1) if not len(s.yx))
    drawn = [rois(empty, np.random.default_rng(k), negatives=0.5) for k in range(8)]
    assert all((d.particle == -1).all() for d in drawn)
    assert sum(len(d.particle) for d in drawn) > 0


def test_regimes_name_the_difficulty():
    seen = dict.fromkeys(REGIMES, 0)
    for scene in (s for seed in range(10) for s in random_scenes(seed, 4)):
        tags = dict(zip(REGIMES, regimes_of(scene).T, strict=True))
        np.testing.assert_array_equal(tags["cut"], ~scene.whole)
        np.testing.assert_array_equal(tags["noisy"], scene.snr < 1)
        np.testing.assert_array_equal(tags["invisible"], scene.visibility < 2.5)
        for name, values in tags.items():
            seen[name] += int(values.sum())
        if tags["touching"].any():
            assert parts(scene.labels > 0) < len(scene.yx)
    assert all(seen.values()), seen
