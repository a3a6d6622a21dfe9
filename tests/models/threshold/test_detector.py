"""The threshold detector: steady masks, splitting, rejection, scale, speed, real frames."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import olefile
import pytest
import torch
from scipy.optimize import linear_sum_assignment

from operando.models.detector import Detections
from operando.models.settings import DetectSettings
from operando.models.threshold.detector import ThresholdDetector
from operando.streamer.lab.simulate import SimSettings, Simulator


@pytest.fixture(scope="module")
def detector() -> ThresholdDetector:
    return ThresholdDetector(DetectSettings(), torch.device("cpu"))


@pytest.fixture
def find(detector: ThresholdDetector, as_tensor: Callable) -> Callable[..., Detections]:
    def run(image: np.ndarray, valid: np.ndarray | None = None) -> Detections:
        good = np.ones(image.shape, bool) if valid is None else valid
        return detector.detect(as_tensor(image), as_tensor(good))[0]

    return run


@pytest.mark.parametrize("phase", [(0.0, 0.0), (0.3, 0.7), (0.5, 0.5), (0.81, 0.13)])
@pytest.mark.parametrize("radius", [8.5, 14.0, 30.0, 70.0])
def test_centres_are_sub_pixel_at_every_size(
    find: Callable, draw_frame: Callable, phase: tuple[float, float], radius: float
) -> None:
    centre = (150 + phase[0], 160 + phase[1])
    found = find(draw_frame([(*centre, radius, 1.0)], shape=(310, 330), noise=0.01))
    assert len(found) == 1
    np.testing.assert_allclose(found.yx[0], centre, atol=max(0.06, 0.004 * radius))


def test_mask_stays_when_contrast_falls_to_a_quarter(find: Callable, draw_frame: Callable) -> None:
    centre, areas, places = (100.3, 110.6), [], []
    for factor in (1.0, 0.7, 0.45, 0.25):
        found = find(draw_frame([(*centre, 30.0, 0.9 * factor)], noise=0.02, clouds=0.01))
        areas.append(found.area[0])
        places.append(found.yx[0])
    assert np.ptp(areas) < 0.05 * areas[0]
    assert np.abs(np.array(places) - centre).max() < 0.25


def test_off_centre_chemistry_does_not_move_the_mask(find: Callable, draw_frame: Callable) -> None:
    y, x = np.indices((200, 220))
    image = draw_frame([(100.0, 110.0, 34.0, 0.8)], noise=0.01)
    # Half of the density is lost in a core on one side.
    core = 1 - 0.5 * np.exp(-0.5 * ((y - 92) ** 2 + (x - 122) ** 2) / 9**2)
    changed = (0.2 + (image - 0.2) * core).astype(np.float32)
    weight = np.clip(changed - 0.2, 0, None)
    weighted = np.array([(weight * y).sum(), (weight * x).sum()]) / weight.sum()
    before, after = find(image), find(changed)
    assert np.hypot(*(weighted - (100, 110))) > 1.0, "the intensity does move"
    assert np.abs(after.yx[0] - before.yx[0]).max() < 0.45
    assert after.area[0] == pytest.approx(before.area[0], rel=0.05)


def test_touching_particles_are_two(find: Callable, draw_frame: Callable) -> None:
    pair = [(90.0, 70.0, 32.0, 0.9), (105.0, 128.0, 27.0, 0.7)]
    found = find(draw_frame(pair))
    assert len(found) == 2
    expected = np.array([p[:2] for p in pair])
    got = found.yx[np.argsort(found.yx[:, 1])]
    np.testing.assert_allclose(got, expected, atol=1.5)


def test_a_small_particle_at_a_large_one_is_kept(find: Callable, draw_frame: Callable) -> None:
    found = find(draw_frame([(90.0, 80.0, 45.0, 1.2), (125.0, 132.0, 18.0, 0.5)]))
    assert len(found) == 2


def test_cracks_and_lumps_do_not_split_a_particle(find: Callable, draw_frame: Callable) -> None:
    y, x = np.indices((200, 220))
    image = draw_frame([(100.0, 110.0, 45.0, 0.9)], noise=0.02)
    crack = np.exp(-0.5 * ((y - x + 8) / 2.0) ** 2) * (np.hypot(y - 100, x - 110) < 38)
    lumps = 1 + 0.25 * np.sin(y / 5) * np.cos(x / 6)
    image = (0.2 + (image - 0.2) * lumps * (1 - 0.5 * crack)).astype(np.float32)
    found = find(image)
    assert len(found) == 1
    np.testing.assert_allclose(found.yx[0], (100, 110), atol=0.8)


def test_holes_are_filled(find: Callable, draw_frame: Callable) -> None:
    y, x = np.indices((200, 220))
    image = draw_frame([(100.0, 110.0, 40.0, 0.9)], noise=0.02)
    image[np.hypot(y - 112, x - 100) < 9] = 0.2
    found = find(image)
    assert len(found) == 1
    assert (found.labels[104:120, 92:108] == 1).all()


def test_smooth_clouds_streaks_and_specks_are_rejected(
    find: Callable, draw_frame: Callable
) -> None:
    y, x = np.indices((240, 260))
    image = draw_frame([(120.0, 130.0, 24.0, 0.6)], shape=(240, 260), noise=0.02)
    image += 0.3 * np.exp(-0.5 * ((y - 50) ** 2 + (x - 60) ** 2) / 22**2)
    image += 0.4 * np.exp(-0.5 * ((y - 200 - 0.2 * x) / 1.5) ** 2)
    for cy, cx in ((30, 200), (60, 230), (200, 30)):
        image[cy : cy + 4, cx : cx + 4] += 0.8
    found = find(image.astype(np.float32))
    assert len(found) == 1
    np.testing.assert_allclose(found.yx[0], (120, 130), atol=1.0)


def test_cut_by_the_frame_or_the_invalid_area_is_flagged(
    find: Callable, draw_frame: Callable
) -> None:
    image = draw_frame(
        [(100.0, 4.0, 30.0, 0.9), (60.0, 110.0, 25.0, 0.9), (160.0, 190.0, 25.0, 0.9)]
    )
    valid = np.ones(image.shape, bool)
    valid[:, 195:] = False
    image[:, 195:] = 37.0
    found = find(image, valid)
    assert len(found) == 3
    cut = {
        tuple((yx // 40).astype(int)): bool(c) for yx, c in zip(found.yx, found.cut, strict=True)
    }
    assert cut[(1, 2)] is False
    assert sum(cut.values()) == 2
    assert not found.labels[:, 195:].any()


def test_sizes_from_15_to_310_px_in_one_frame(find: Callable, draw_frame: Callable) -> None:
    blobs = [
        (220.0, 230.0, 155.0, 1.2),
        (120.0, 480.0, 60.0, 0.9),
        (330.0, 500.0, 20.0, 0.6),
        (470.0, 450.0, 7.8, 0.5),
        (450.0, 80.0, 12.0, 0.5),
    ]
    found = find(draw_frame(blobs, shape=(512, 600), noise=0.04))
    assert len(found) == len(blobs)
    distance = np.linalg.norm(found.yx[:, None] - np.array(blobs)[None, :, :2], axis=-1)
    assert (distance.min(0) < 1.0).all()


def test_unequal_light_and_invalid_sides(find: Callable, draw_frame: Callable) -> None:
    blobs = [(120.0, 150.0, 30.0, 0.6), (200.0, 230.0, 22.0, 0.6)]
    image = draw_frame(blobs, shape=(280, 320), noise=0.0)
    light = (
        np.clip(np.linspace(-0.1, 1, 320), 0.01, 1)
        * np.clip(np.linspace(-0.1, 1, 280), 0.01, 1)[:, None]
    )
    rng = np.random.default_rng(3)
    noisy = image + rng.standard_normal(image.shape) * 0.02 / light**0.5
    found = find(noisy.astype(np.float32), light > 0.05)
    assert len(found) == 2
    assert not found.cut.any()


# ---- against the simulated microscope -------------------------------------------------------


def simulated_od(sim: Simulator, frame: int) -> np.ndarray:
    s = sim.settings
    dark = sim.dark(8).mean(0)
    sample = sim.exposures(frame).mean(0) - dark
    flat = sim.flat(frame, 8).mean(0) - dark
    ratio = sample / np.clip(flat, 1, None) * s.flat_exposure / s.exposure
    return -np.log(np.clip(ratio, 1e-3, None)).astype(np.float32)


def test_recall_precision_and_steadiness_over_a_scan(find: Callable) -> None:
    hits, above, false, errors = [], [], 0, []
    for seed in (0, 1):
        sim = Simulator(SimSettings(seed=seed, n_energies=12))
        truth = sim.truth
        centres = np.full((sim.n_frames, sim.n_particles, 2), np.nan)
        for frame in range(sim.n_frames):
            found = find(simulated_od(sim, frame))
            distance = np.linalg.norm(truth.yx[frame][:, None] - found.yx[None], axis=-1)
            i, j = linear_sum_assignment(distance)
            good = distance[i, j] < 0.5 * truth.radius[i]
            centres[frame, i[good]] = found.yx[j[good]]
            false += len(found) - int(good.sum())
        seen = np.isfinite(centres[..., 0])
        hits.append(seen)
        above.append(seen[truth.region == "above"])
        error = centres - truth.yx
        errors.append((error - np.nanmedian(error, axis=0)).ravel())
    assert np.concatenate(hits).mean() >= 0.95
    assert np.concatenate(above).mean() >= 0.98
    assert false / 24 < 0.1
    assert np.sqrt(np.nanmean(np.concatenate(errors) ** 2)) <= 0.35


# ---- real frames ----------------------------------------------------------------------------


def read_xrm(path: Path) -> np.ndarray:
    with olefile.OleFileIO(str(path)) as ole:
        width, height = (
            int.from_bytes(ole.openstream(f"ImageInfo/Image{n}").read()[:4], "little")
            for n in ("Width", "Height")
        )
        raw = ole.openstream("ImageData1/Image1").read()
    return np.frombuffer(raw, "<u2").reshape(height, width).astype(np.float32)


def real_od(folder: Path, energy: int) -> tuple[np.ndarray, np.ndarray]:
    flat = np.mean([read_xrm(p) for p in sorted((folder / "flat").glob(f"*{energy}*"))], axis=0)
    sample = read_xrm(min((folder / "sample").glob(f"*{energy}*")))
    valid = flat > 0.1 * np.percentile(flat, 95)
    ratio = np.where(valid, sample / 0.5 / (flat / 0.3), 1)
    return -np.log(np.clip(ratio, 1e-3, None)).astype(np.float32), valid


@pytest.mark.data
def test_real_particles_below_and_above_the_edge(find: Callable, shared_data: Path) -> None:
    folder = shared_data / "txm-ssrl-nca"
    low, high = (find(*real_od(folder, energy)) for energy in (8324, 8354))
    distance = np.linalg.norm(low.yx[:, None] + (20.1, 10.0) - high.yx[None], axis=-1)
    ratio = high.area[None] / low.area[:, None]
    # Dust on another plane moves 6 px less than the electrode.
    pairs = (distance < 8) & (ratio > 0.85) & (ratio < 1.15)
    pairs &= ~low.cut[:, None] & ~high.cut[None] & (low.area[:, None] > 2000)
    assert (pairs.sum(0) <= 1).all()
    assert pairs.any(1).sum() >= 8
    for y, x in ((693, 403), (552, 556), (368, 615)):  # large ones that touch others
        i = int(np.argmin(np.hypot(*(low.yx - (y, x)).T)))
        assert np.hypot(*(low.yx[i] - (y, x))) < 6
        assert pairs[i].any()
