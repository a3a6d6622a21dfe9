"""Figures on arrays whose answer is known."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from operando.models.ssim import ssim
from operando.streamer.lab.bench.estimates import UNALIGNED, contrast
from operando.streamer.lab.bench.paper import ORACLE, last_ssim, similarity
from operando.streamer.lab.bench.paper_report import cumulative, maps_of
from operando.streamer.lab.bench.paper_speed import _Traffic
from operando.streamer.lab.evaluate.similarity import adjacent_ssim


def test_similarity_of_one_particle_and_of_all():
    nan = np.nan
    values = np.array([[0.8, 0.5], [0.6, nan], [nan, 0.7]], np.float32)
    best = np.array([[0.9, 0.6], [0.9, 1.0], [0.9, 0.8]], np.float32)
    found = similarity(values, best, 0)
    assert found["ssim_one"] == pytest.approx(0.7)
    assert found["var_one"] == pytest.approx(0.01)
    assert found["oracle_one"] == pytest.approx(0.9)
    assert found["ssim"] == pytest.approx(0.65)
    assert found["var"] == pytest.approx(np.var([0.8, 0.6, 0.5, 0.7]))
    # only the pairs that both have
    assert found["oracle"] == pytest.approx(0.8)
    assert found["worst"] == pytest.approx(0.6)


def test_no_pairs_are_no_figure():
    none = np.full((3, 2), np.nan, np.float32)
    found = similarity(none, np.ones((3, 2), np.float32), 1)
    assert all(np.isnan(value) for value in found.values())


def test_ssim_is_the_standard_one_and_not_the_printed_one():
    a, b = np.full((15, 15), 0.4), np.full((15, 15), 0.8)
    c1 = 0.01**2
    expected = (2 * 0.4 * 0.8 + c1) / (0.4**2 + 0.8**2 + c1)
    images = (torch.tensor(x, dtype=torch.float32)[None, None] for x in (a, b))
    assert float(ssim(*images, 1.0)) == pytest.approx(expected, rel=1e-3)


def test_a_stack_that_is_aligned_by_its_true_motion_is_alike():
    rng = np.random.default_rng(0)
    scene = rng.random((60, 60)).astype(np.float32)
    stack = np.stack([np.roll(scene, (3 * k, -2 * k), (0, 1)) for k in range(4)])
    yx = np.array([[[30.0 + 3 * k, 30.0 - 2 * k]] for k in range(4)])
    aligned = adjacent_ssim(stack, yx, np.array([6.0]))
    still = adjacent_ssim(stack, np.repeat(yx[:1], 4, axis=0), np.array([6.0]))
    assert aligned == pytest.approx(np.ones((3, 1)), abs=1e-4)
    assert still.max() < 0.5


def test_an_error_that_grows_slowly_shows_against_the_last_frame():
    smooth = gaussian_filter(np.random.default_rng(0).random((80, 80)), 3).astype(np.float32) * 4
    stack = np.stack([smooth] * 20)
    true = np.full((20, 1, 2), 40.0)
    drifting = true + np.linspace(0, 4, 20)[:, None, None]
    radius = np.array([8.0])
    assert last_ssim(stack, true, radius) == pytest.approx(np.ones((19, 1)), abs=1e-4)
    adjacent, far = (f(stack, drifting, radius) for f in (adjacent_ssim, last_ssim))
    assert adjacent.min() > 0.95
    assert far[0, 0] < 0.8
    assert (np.diff(far[:, 0]) > -0.02).all()


def test_contrast_of_two_pictures():
    first = np.array([[0.0, 1.0], [2.0, np.nan]])
    assert contrast(first, 3 * first + 0.5) == pytest.approx((3.0, 0.5))
    assert contrast(np.full((2, 2), np.nan), first) == (1.0, 0.0)


def test_cumulative_displacement_bridges_gaps():
    nan = np.nan
    yx = np.array([[[0.0, 0.0]], [[3.0, 4.0]], [[nan, nan]], [[3.0, 10.0]]])
    np.testing.assert_allclose(cumulative(yx)[:, 0], [0.0, 5.0, nan, 11.0])
    assert np.isnan(cumulative(np.full((3, 1, 2), nan))).all()


def test_oracle_is_as_alike_as_any_method(result):
    """On frames without noise; with noise, interpolation that smooths it can only be better."""
    best = result.figures[ORACLE]["clean_ssim"]
    for name, figures in result.figures.items():
        assert figures["clean_ssim"] <= best + 3e-3, name
        assert figures["clean_oracle"] == pytest.approx(best, abs=0.02), name


def test_alignment_that_is_worse_shows_in_every_figure(result):
    ours, noisy = result.figures["ours, classical"], result.figures["off_by_noise"]
    assert ours["rms"] < 0.4
    n = result.series.truth.n_frames
    assert noisy["rms"] == pytest.approx(np.sqrt(2 * (1 - 1 / n)), rel=0.2)
    keys = ("ssim_one", "ssim", "clean_ssim_one", "clean_ssim", "clean_worst", "far_one", "far")
    for key in keys:
        assert ours[key] > noisy[key] + 0.02, key


def test_maps_without_alignment_show_a_rim(result):
    maps = maps_of(result, 5)
    assert maps.gain > 2  # the edge lies between the two
    spread = {name: float(np.nanstd(one)) for name, one in maps.matched.items()}
    assert spread[UNALIGNED] > 1.2 * spread[ORACLE]
    assert spread["ours, classical"] < 1.1 * spread[ORACLE]
    inside = maps.plain[ORACLE].shape[0] // 2
    assert maps.plain[ORACLE][inside, inside] > 0.3


def test_bytes_are_those_read_and_written():
    a = torch.zeros(10, 10)
    with _Traffic() as traffic:
        (a + a).reshape(100)
    assert traffic.total == 3 * 400


def test_time_and_cost_are_told_for_ours(result):
    ours = result.figures["ours, classical"]
    for key in ("seconds", "processor", "median", "gflop", "gigabytes"):
        assert ours[key] > 0, key
    assert ours["stop"] >= 0
    assert any("10 frames in" in note and "for torch" in note for note in result.notes)
