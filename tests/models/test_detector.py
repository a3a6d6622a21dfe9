"""What every detector of the registry promises."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable

import numpy as np
import pytest
import torch

from operando.models import DETECTORS, Detector, DetectSettings, make_detector, resolve_device
from operando.models.detector import Detections

PARTICLES = [(60.0, 60.0, 28.0, 0.8), (70.0, 150.0, 16.0, 0.5), (150.0, 110.0, 36.0, 1.0)]
FIELDS = ("labels", "yx", "area", "moments", "bbox", "contrast", "score", "cut")


@pytest.fixture(params=sorted(DETECTORS))
def detector(request: pytest.FixtureRequest, device: torch.device) -> Detector:
    return make_detector(DetectSettings(kind=request.param), device)


def same(a: Detections, b: Detections) -> bool:
    return all(np.array_equal(getattr(a, f), getattr(b, f)) for f in FIELDS)


def detect(detector: Detector, od: torch.Tensor) -> list[Detections]:
    return detector.detect(od, torch.ones_like(od, dtype=torch.bool))


def test_importing_the_package_does_not_import_torch() -> None:
    code = "import sys, operando.models; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_is_a_detector(detector: Detector) -> None:
    assert isinstance(detector, Detector)
    assert detector.name in DETECTORS


def test_finds_all_and_describes_them(
    detector: Detector, draw_frame: Callable, as_tensor: Callable
) -> None:
    (found,) = detect(detector, as_tensor(draw_frame(PARTICLES)))
    assert len(found) == 3
    assert sorted(np.unique(found.labels)) == [0, 1, 2, 3]
    order = [int(np.argmin(np.hypot(*(found.yx - p[:2]).T))) for p in PARTICLES]
    assert sorted(order) == [0, 1, 2]
    for i, (y, x, radius, od) in zip(order, PARTICLES, strict=True):
        np.testing.assert_allclose(found.yx[i], (y, x), atol=0.4)
        assert 0.65 < found.area[i] / (np.pi * radius**2) < 1.05
        mask = found.labels == i + 1
        assert mask.sum() == pytest.approx(found.area[i], rel=0.05)
        np.testing.assert_allclose(np.argwhere(mask).mean(0), found.yx[i], atol=0.3)
        rows, columns = np.nonzero(mask)
        bounds = (rows.min(), columns.min(), rows.max() + 1, columns.max() + 1)
        assert tuple(found.bbox[i]) == bounds
        # A disc has the moments r^2 / 4; the three lobes add next to nothing.
        np.testing.assert_allclose(found.moments[i, :2], found.area[i] / (4 * np.pi), rtol=0.1)
        assert abs(found.moments[i, 2]) < 0.06 * found.moments[i, 0]
        assert 0.5 * od < found.contrast[i] < od
        assert 0.5 < found.score[i] <= 1
        assert not found.cut[i]


def test_dtypes_and_shapes(detector: Detector, draw_frame: Callable, as_tensor: Callable) -> None:
    image = draw_frame(PARTICLES)
    (found,) = detect(detector, as_tensor(image))
    assert found.labels.shape == image.shape
    assert found.labels.dtype == np.int32
    assert found.bbox.dtype == np.int64
    assert found.cut.dtype == np.bool_
    for name in ("yx", "area", "moments", "contrast", "score"):
        assert getattr(found, name).dtype == np.float64


def test_batch_of_three_is_three_single_calls_bit_for_bit(
    detector: Detector, draw_frame: Callable, as_tensor: Callable
) -> None:
    images = [draw_frame(PARTICLES[: n + 1], seed=n, clouds=0.02) for n in range(3)]
    batch = torch.cat([as_tensor(image) for image in images])
    valid = torch.ones_like(batch, dtype=torch.bool)
    valid[1, 0, :, :20] = False
    together = detector.detect(batch, valid)
    for n, found in enumerate(together):
        (alone,) = detector.detect(batch[n : n + 1], valid[n : n + 1])
        assert len(found) == n + 1
        assert same(found, alone)


def test_is_deterministic_and_leaves_its_input_alone(
    detector: Detector, draw_frame: Callable, as_tensor: Callable
) -> None:
    od = as_tensor(draw_frame(PARTICLES))
    before = od.clone()
    first, second = detect(detector, od), detect(detector, od)
    assert same(first[0], second[0])
    assert torch.equal(od, before)


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((180, 200), np.float32),
        np.full((181, 203), 1.7, np.float32),
        np.tile(np.linspace(0, 1, 200, dtype=np.float32), (180, 1)),
        np.full((7, 5), 0.3, np.float32),
        np.zeros((1, 1), np.float32),
    ],
    ids=["blank", "flat", "slope", "tiny", "pixel"],
)
def test_nothing_to_see_is_no_detections(
    detector: Detector, as_tensor: Callable, image: np.ndarray
) -> None:
    (found,) = detect(detector, as_tensor(image))
    assert len(found) == 0
    assert found.labels.shape == image.shape
    assert not found.labels.any()
    assert found.yx.shape == (0, 2)
    assert found.bbox.shape == (0, 4)


@pytest.mark.parametrize("noise", [0.03, 0.15])
@pytest.mark.parametrize("clouds", [0.0, 0.05])
@pytest.mark.parametrize("seed", range(4))
def test_no_false_detections_in_noise_and_clouds(
    detector: Detector,
    draw_frame: Callable,
    as_tensor: Callable,
    noise: float,
    clouds: float,
    seed: int,
) -> None:
    image = draw_frame([], shape=(300, 320), noise=noise, clouds=clouds, seed=seed)
    assert len(detect(detector, as_tensor(image))[0]) == 0


def test_all_invalid_is_no_detections(detector: Detector, draw_frame: Callable, as_tensor) -> None:
    od = as_tensor(draw_frame(PARTICLES))
    (found,) = detector.detect(od, torch.zeros_like(od, dtype=torch.bool))
    assert len(found) == 0


def test_non_finite_pixels_do_no_harm(
    detector: Detector, draw_frame: Callable, as_tensor: Callable
) -> None:
    image = draw_frame(PARTICLES)
    rng = np.random.default_rng(1)
    bad = rng.random(image.shape) < 0.01
    image[bad] = rng.choice([np.nan, np.inf, -np.inf], bad.sum())
    assert len(detect(detector, as_tensor(image))[0]) == 3


def test_unknown_kind_is_refused_with_the_choices(device: torch.device) -> None:
    with pytest.raises(ValueError, match="threshold"):
        make_detector(DetectSettings(kind="nonsense"), device)


def test_dotted_path_needs_no_registration(device: torch.device) -> None:
    path = "operando.models.threshold.detector:ThresholdDetector"
    assert make_detector(DetectSettings(kind=path), device).name == "threshold"


def test_settings_refuse_nonsense() -> None:
    with pytest.raises(ValueError, match="max_diameter_px must exceed"):
        DetectSettings(min_diameter_px=50, max_diameter_px=40)
    with pytest.raises(ValueError, match="extra"):
        DetectSettings(min_diametre=3)  # pyright: ignore[reportCallIssue]


def test_resolve_device() -> None:
    assert resolve_device("cpu") == torch.device("cpu")
    assert resolve_device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")
    with pytest.raises(ValueError, match="wanted 'auto'"):
        resolve_device("gpu please")
    with pytest.raises(ValueError, match="not on this machine"):
        resolve_device("cuda:99")
