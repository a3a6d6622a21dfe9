"""The detector of the networks with the weights that are shipped."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from operando.models.detector import Detections, Expected, IncrementalDetector
from operando.models.networks.detector import NetworksDetector
from operando.models.networks.nets import Generator
from operando.models.networks.weights import WeightsError, store
from operando.models.settings import DetectSettings, NetworkSettings

PARTICLES = [(60.0, 60.0, 28.0, 0.8), (70.0, 150.0, 16.0, 0.5), (150.0, 110.0, 36.0, 1.0)]
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def detector() -> NetworksDetector:
    return NetworksDetector(DetectSettings(kind="networks"), CPU)


@pytest.fixture
def find(detector: NetworksDetector, as_tensor: Callable) -> Callable[..., Detections]:
    def run(image: np.ndarray) -> Detections:
        od = as_tensor(image)
        return detector.detect(od, torch.ones_like(od, dtype=torch.bool))[0]

    return run


def expect(particles: list[tuple[float, ...]], shift: tuple[float, float] = (0, 0)) -> Expected:
    table = np.array(particles)
    return Expected(centres=table[:, :2] - shift, diameters=2 * table[:, 2])


def follow(detector: NetworksDetector, image: np.ndarray, expected: Expected) -> Detections | None:
    od = torch.from_numpy(image)[None, None]
    return detector.follow(od, torch.ones_like(od, dtype=torch.bool), expected)


def test_touching_particles_are_two(find: Callable, draw_frame: Callable) -> None:
    pair = [(90.0, 70.0, 32.0, 0.9), (105.0, 128.0, 27.0, 0.7)]
    found = find(draw_frame(pair))
    assert len(found) == 2
    got = found.yx[np.argsort(found.yx[:, 1])]
    np.testing.assert_allclose(got, [p[:2] for p in pair], atol=1.5)


@pytest.mark.parametrize("radius", [9.0, 30.0, 110.0])
def test_small_and_large_particles_are_found_once(
    find: Callable, draw_frame: Callable, radius: float
) -> None:
    found = find(draw_frame([(170.3, 180.6, radius, 0.8)], shape=(340, 350), noise=0.02))
    assert len(found) == 1
    np.testing.assert_allclose(found.yx[0], (170.3, 180.6), atol=max(0.3, 0.02 * radius))


def test_faint_particles_are_found(find: Callable, draw_frame: Callable) -> None:
    found = find(draw_frame([(100.0, 110.0, 24.0, 0.15)], noise=0.1))
    assert len(found) == 1
    np.testing.assert_allclose(found.yx[0], (100, 110), atol=2.0)


def test_what_was_seen_is_followed_as_a_search_finds_it(
    detector: NetworksDetector, find: Callable, draw_frame: Callable
) -> None:
    assert isinstance(detector, IncrementalDetector)
    image = draw_frame(PARTICLES)
    searched, followed = find(image), follow(detector, image, expect(PARTICLES))
    assert followed is not None
    np.testing.assert_allclose(followed.yx, [p[:2] for p in PARTICLES], atol=0.5)
    for i, yx in enumerate(followed.yx):
        j = int(np.hypot(*(searched.yx - yx).T).argmin())
        np.testing.assert_allclose(searched.yx[j], yx, atol=0.25)
        assert searched.area[j] == pytest.approx(followed.area[i], rel=0.04)
        mine, its = followed.labels == i + 1, searched.labels == j + 1
        assert (mine & its).sum() > 0.95 * (mine | its).sum()


def test_a_jump_of_all_is_followed(detector: NetworksDetector, draw_frame: Callable) -> None:
    found = follow(detector, draw_frame(PARTICLES), expect(PARTICLES, shift=(6.0, -7.0)))
    assert found is not None
    np.testing.assert_allclose(found.yx, [p[:2] for p in PARTICLES], atol=0.5)


@pytest.mark.parametrize("gone", range(3))
def test_one_that_is_gone_is_not_made_up(
    detector: NetworksDetector, draw_frame: Callable, gone: int
) -> None:
    rest = [p for i, p in enumerate(PARTICLES) if i != gone]
    assert follow(detector, draw_frame(rest), expect(PARTICLES)) is None


def test_two_that_are_expected_at_one_place_are_not_one(
    detector: NetworksDetector, draw_frame: Callable
) -> None:
    twice = [*PARTICLES, (62.0, 61.0, 28.0, 0.8)]
    assert follow(detector, draw_frame(PARTICLES), expect(twice)) is None


def test_nobody_expected_is_nobody_found(detector: NetworksDetector, draw_frame: Callable) -> None:
    nobody = Expected(centres=np.zeros((0, 2)), diameters=np.zeros(0))
    found = follow(detector, draw_frame(PARTICLES), nobody)
    assert found is not None
    assert len(found) == 0


@pytest.mark.parametrize("noise", [0.0, 0.003, 0.03, 0.3])
def test_a_frame_without_particles_is_not_doubted(find: Callable, noise: float) -> None:
    rng = np.random.default_rng(0)
    found = find(noise * rng.standard_normal((460, 460)).astype(np.float32))
    assert len(found) == 0
    assert found.doubt == ""


def test_a_frame_like_no_other_is_doubted(find: Callable, draw_frame: Callable) -> None:
    y, x = np.indices((300, 300))
    assert find(draw_frame(PARTICLES, clouds=0.02)).doubt == ""
    for strange in ((y // 8 + x // 8) % 2, np.sin(x / 3)):
        assert find(strange.astype(np.float32)).doubt == "out_of_distribution"


def test_half_precision_is_nearly_as_good(draw_frame: Callable) -> None:
    od = torch.from_numpy(draw_frame(PARTICLES))[None, None]
    valid = torch.ones_like(od, dtype=torch.bool)
    both = []
    for half in (False, True):
        settings = DetectSettings(kind="networks", networks=NetworkSettings(half=half))
        both.append(NetworksDetector(settings, CPU).detect(od, valid)[0])
    np.testing.assert_allclose(both[0].yx, both[1].yx, atol=0.15)
    np.testing.assert_allclose(both[0].area, both[1].area, rtol=0.03)


def test_results_name_their_weights(detector: NetworksDetector, tmp_path: Path) -> None:
    other = tmp_path / "other.safetensors"
    network = Generator(4, 1)
    about = {"arguments": {"width": 4, "blocks": 1}}
    store(other, "generator", network.state_dict(), about)
    settings = DetectSettings(networks=NetworkSettings(generator=str(other)))
    changed = NetworksDetector(settings, CPU)
    assert len(detector.weights_sha256) == 64
    assert changed.weights_sha256 != detector.weights_sha256


def test_missing_weights_are_an_error() -> None:
    settings = DetectSettings(networks=NetworkSettings(dual_unet="/nowhere/w.safetensors"))
    with pytest.raises(WeightsError, match="cannot read /nowhere"):
        NetworksDetector(settings, CPU)


@pytest.mark.parametrize("arguments", [{"width": 8, "blocks": 1}, {"widht": 4}, {}])
def test_weights_of_another_width_are_an_error(tmp_path: Path, arguments: dict) -> None:
    other = tmp_path / "other.safetensors"
    store(other, "generator", Generator(4, 1).state_dict(), {"arguments": arguments})
    settings = DetectSettings(networks=NetworkSettings(generator=str(other)))
    with pytest.raises(WeightsError, match="wanted those of a Generator"):
        NetworksDetector(settings, CPU)
