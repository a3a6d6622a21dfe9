"""Frames with a truth: which particles are asked for, and what an empty frame shows."""

from __future__ import annotations

import numpy as np
import pytest

from operando.streamer.config import load_settings
from operando.streamer.lab.bench.detection import LEAST_CONTRAST, contrast_noise, shots
from operando.streamer.lab.bench.regimes import DETECTION, FIRST_SEED
from operando.streamer.lab.simulate import SimSettings, Simulator

SMALL = SimSettings(
    seed=FIRST_SEED + 99_999,
    shape=(220, 220),
    energies=(8280.0, 8380.0),
    n_particles=4,
    radius_px=(12.0, 22.0),
    chunk=1,
)


def settings(**detect):
    return load_settings("sim_txm", {"detect": detect, "process": {"device": "cpu"}})


def test_silhouettes_lie_where_the_truth_says():
    below, above = shots(SMALL, settings(min_diameter_px=10))
    truth = Simulator(SMALL).truth
    assert (below.energy, above.energy) == SMALL.energies
    for frame, shot in enumerate((below, above)):
        assert shot.required.all()
        assert shot.excused() == {"cut": 0, "small": 0, "faint": 0}
        for particle, yx in enumerate(truth.yx[frame]):
            mask = shot.labels == particle + 1
            assert np.argwhere(mask).mean(axis=0) == pytest.approx(yx, abs=0.1)
            assert mask.sum() == pytest.approx(np.pi * truth.radius[particle] ** 2, rel=0.03)
            inside = np.nanmean(shot.od[mask])
            around = np.nanmean(shot.od[shot.labels == 0])
            assert inside - around == pytest.approx(truth.od[frame, particle], abs=0.08)
    assert (above.contrast > 3 * below.contrast).all()


def test_small_ones_are_not_asked_for():
    truth = Simulator(SMALL).truth
    least = 2 * float(np.sort(truth.radius)[1]) - 0.1
    shot = next(iter(shots(SMALL, settings(min_diameter_px=least))))
    assert shot.small.tolist() == (2 * truth.radius < least).tolist()
    assert shot.required.sum() == 3
    assert shot.excused()["small"] == 1


def test_faint_ones_are_not_asked_for():
    simulated = SMALL.model_copy(update={"pre_edge": 0.0})
    below, above = shots(simulated, settings(min_diameter_px=10))
    assert below.faint.all()
    assert not above.faint.any()
    assert below.required.sum() == 0
    assert (below.contrast < LEAST_CONTRAST).all()


def test_those_cut_by_the_rim_or_by_invalid_pixels_are_not_asked_for():
    simulated = SMALL.model_copy(update={"allow_cut": True, "n_particles": 9, "shape": (150, 150)})
    wide = settings(min_diameter_px=10)
    narrow = wide.model_copy(update={"correct": wide.correct.model_copy(update={"rim": 25})})
    truth = Simulator(simulated).truth
    for one, more in zip(shots(simulated, wide), shots(simulated, narrow), strict=True):
        frame = SMALL.energies.index(one.energy)
        assert one.cut[truth.cut[frame]].all()
        assert 0 < one.required.sum() < 9
        assert more.cut.sum() > one.cut.sum()
        assert not (more.required & ~one.required).any()


def test_noise_of_the_contrast_falls_with_the_area():
    empty = np.random.default_rng(0).normal(0, 0.1, (400, 400)).astype(np.float32)
    empty[:, :5] = np.nan
    radii = np.array([6.0, 12.0, 24.0])
    noise = contrast_noise(empty, np.full((3, 2), 200.0), radii)
    # the mean over the area minus that over as many pixels around it
    expected = 0.1 * np.sqrt(2 / (np.pi * radii**2))
    assert noise == pytest.approx(expected, rel=0.35)


def test_noise_of_the_contrast_is_that_of_the_place():
    rng = np.random.default_rng(1)
    empty = rng.normal(0, 0.02, (300, 600)).astype(np.float32)
    empty[:, 300:] *= 10
    quiet, loud = contrast_noise(empty, [[150.0, 100.0], [150.0, 500.0]], [10.0, 10.0])
    assert loud / quiet == pytest.approx(10, rel=0.3)
    nothing = np.full((100, 100), np.nan, np.float32)
    assert np.isnan(contrast_noise(nothing, [[50.0, 50.0]], [10.0])).all()


def test_every_regime_has_seeds_of_its_own_that_are_held_out():
    seeds = [sample.seed for regime in DETECTION.values() for sample in regime.simulated()]
    assert len(seeds) == len(set(seeds))
    assert min(seeds) >= FIRST_SEED
    for regime in DETECTION.values():
        (quick,) = regime.simulated(quick=True)
        first = regime.simulated()[0]
        assert (quick.seed, len(quick.scan_energies)) == (first.seed, 2)
        assert set(quick.scan_energies) < set(first.scan_energies)


def test_sizes_of_a_regime_replace_those_of_the_profile():
    base = settings().detect
    assert DETECTION["above"].detect(base) == base
    large = DETECTION["ssrl_like"].detect(base)
    assert (large.min_diameter_px, large.max_diameter_px) == (50, 340)
    assert large.snr == base.snr
