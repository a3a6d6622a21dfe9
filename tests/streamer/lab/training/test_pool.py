from dataclasses import fields, replace

import numpy as np
import pytest
import torch

from operando.models.networks.inputs import frame_input
from operando.streamer.lab.training.pool import (
    CELLS,
    Pool,
    build_pool,
    frame_arrays,
    group_seed,
    roi_arrays,
)
from operando.streamer.lab.training.recorded import adapting, unpaired
from operando.streamer.lab.training.scenes import random_scene
from operando.streamer.lab.training.sets import IGNORED
from operando.streamer.lab.training.targets import REGIMES, Rois


@pytest.fixture(scope="module")
def pool():
    return build_pool(1, 10)


def same(a, b):
    return all(np.array_equal(getattr(a, f.name), getattr(b, f.name)) for f in fields(Pool))


def test_shapes_and_types(pool):
    n, m = 10, len(pool.rois)
    assert m > 5
    assert pool.frames.shape == pool.masks.shape == (n, 1, CELLS, CELLS)
    assert pool.rois.shape == pool.clean.shape == pool.roi_masks.shape == (m, 1, 64, 64)
    assert (pool.frames.dtype, pool.masks.dtype) == (np.float16, np.uint8)
    assert (pool.rois.dtype, pool.clean.dtype) == (np.float16, np.float16)
    assert set(np.unique(pool.masks)) <= {0, 1, IGNORED}
    assert set(np.unique(pool.roi_masks)) <= {0, 1}
    assert pool.regimes.shape == (m, len(REGIMES))
    assert np.isfinite(pool.rois.astype(np.float32)).all()
    assert (np.diff(pool.scene) >= 0).all()
    assert pool.scene.max() < n


@pytest.mark.slow
def test_the_number_of_workers_changes_nothing(pool):
    assert same(build_pool(1, 10, workers=2), pool)


def test_the_size_of_the_pool_changes_nothing(pool):
    few = build_pool(1, 4)
    np.testing.assert_array_equal(few.frames, pool.frames[:4])
    np.testing.assert_array_equal(few.rois, pool.rois[: len(few.rois)])


def test_pools_of_other_seeds_share_no_scene(pool):
    other = build_pool(2, 2)
    assert not {tuple(s) for s in other.seeds} & {tuple(s) for s in pool.seeds}
    assert not np.array_equal(other.frames, pool.frames[:2])
    assert group_seed(0, 2**31 - 1) < group_seed(1, 0)


def test_negatives_are_empty_and_positives_are_not(pool):
    empty = pool.diameter == 0
    assert empty.any()
    assert pool.roi_masks[empty].max() == 0
    assert np.abs(pool.clean[empty].astype(np.float32)).max() == 0
    assert not pool.regimes[empty].any()
    assert pool.roi_masks[~empty].any(axis=(1, 2, 3)).all()


def test_the_particle_in_the_middle_covers_what_its_window_says(pool):
    meant = (pool.diameter > 0) & ~pool.regimes[:, REGIMES.index("cut")]
    share = pool.roi_masks[meant].mean(axis=(1, 2, 3))
    # pi/4 of a quarter, for a side that is wrong by -20 % .. 30 %
    assert 0.1 < np.median(share) < 0.32
    y, x = (grid[None, None] - 31.5 for grid in np.indices((64, 64)))
    mask = pool.roi_masks[meant]
    area = mask.sum(axis=(1, 2, 3))
    away = np.hypot((mask * y).sum((1, 2, 3)) / area, (mask * x).sum((1, 2, 3)) / area)
    assert np.median(away) < 0.2 * 32 / 0.8


def test_a_window_shows_the_particle_that_is_meant_and_nothing_else():
    scene = next(
        s for s in (random_scene(k) for k in range(300)) if len(s.yx) >= 4 and s.whole.sum() >= 3
    )
    which = np.flatnonzero(scene.whole)
    windows = Rois(
        centres=scene.yx[which].astype(np.float32),
        sides=(2 * scene.diameter[which]).astype(np.float32),
        particle=which.astype(np.int64),
    )
    arrays = roi_arrays(scene, windows)
    for mask, clean in zip(arrays["roi_masks"][:, 0], arrays["clean"][:, 0], strict=True):
        y, x = np.nonzero(mask)
        assert np.hypot(y.mean() - 31.5, x.mean() - 31.5) < 3
        assert mask.mean() == pytest.approx(np.pi / 16, rel=0.25)
        assert clean[mask == 1].mean() > 0.4
        assert clean[:4].max() < 0.1
    np.testing.assert_allclose(arrays["snr"], scene.snr[which], rtol=1e-5)


def test_frames_are_what_the_detector_sees_and_invisible_particles_do_not_count():
    scene = next(
        s for s in (random_scene(k) for k in range(300)) if len(s.yx) >= 2 and s.whole.all()
    )
    hidden = replace(scene, visibility=np.where(np.arange(len(scene.yx)) == 0, 0.0, 100.0))
    arrays = frame_arrays(hidden, 2)
    seen = frame_input(
        torch.from_numpy(scene.od)[None, None], torch.from_numpy(scene.valid)[None, None], 2
    )
    np.testing.assert_allclose(arrays["frames"], seen, atol=1e-3)
    cells = scene.labels[::2, ::2]
    assert (arrays["masks"][0, 0][cells == 1] == IGNORED).all()
    assert (arrays["masks"][0, 0][cells > 1] != IGNORED).mean() > 0.8


def test_a_pool_is_saved_and_read(pool, tmp_path):
    pool.save(tmp_path / "pool.npz")
    assert same(Pool.load(tmp_path / "pool.npz"), pool)
    np.savez(tmp_path / "old.npz", frames=pool.frames)
    with pytest.raises(KeyError):
        Pool.load(tmp_path / "old.npz")


def test_progress_counts_the_scenes():
    told = []
    build_pool(3, 6, progress=lambda done, of: told.append((done, of)))
    assert told == [(4, 6), (6, 6)]


def test_sets_for_the_training(pool):
    frames, windows = pool.frame_set(), pool.roi_set()
    assert frames.image.dtype == torch.float16
    assert len(frames.image) == len(frames.mask) == 10
    weight = windows.weight[:, 0, 0, 0].numpy()
    np.testing.assert_array_equal(weight == 0, pool.regimes[:, REGIMES.index("invisible")])


def test_unpaired_domains_share_no_seed(pool):
    domains = unpaired(pool)
    assert len(domains.frames)
    frames, masks = ({int(s) for s in seeds[:, 0]} for seeds in _seeds(domains))
    assert not frames & masks
    assert frames | masks <= {int(s) for s in pool.seeds[:, 0]}
    assert domains.masks.any(axis=(1, 2, 3)).all()
    assert domains.masks.max() == 1
    one = replace(pool, seeds=np.zeros_like(pool.seeds))
    with pytest.raises(ValueError, match="two groups"):
        unpaired(one)


def _seeds(domains):
    return domains.frame_seeds, domains.mask_seeds


def test_a_beamline_is_adapted_to_with_simulated_masks(pool):
    frames = np.zeros((3, 1, CELLS, CELLS), np.float16)
    domains = adapting(frames, pool)
    assert domains.frames is frames
    assert (domains.frame_seeds == -1).all()
    assert len(domains.frame_set().image) == len(domains.frame_set().mask)
