"""Frames unlike those of the training."""

from __future__ import annotations

import pytest
import torch

from operando.models.networks.weights import feature_distance, feature_statistics, fit_features

C = 40


def frames(n: int, seed: int) -> torch.Tensor:
    """Correlated features of very different sizes."""
    mixing = torch.randn(C, C, generator=torch.Generator().manual_seed(0))
    mixing *= torch.logspace(0, -1.5, C)[:, None]
    sizes = torch.logspace(-2, 1, C)
    return torch.randn(n, C, generator=torch.Generator().manual_seed(seed)) @ mixing * sizes + 3


@pytest.fixture(scope="module")
def fitted() -> dict[str, torch.Tensor]:
    return fit_features(frames(400, 1))


def test_others_like_them_are_not_doubted(fitted: dict[str, torch.Tensor]) -> None:
    far = feature_distance(frames(400, 2), fitted) > fitted["ood.threshold"]
    assert far.float().mean() < 0.01


def test_others_are(fitted: dict[str, torch.Tensor]) -> None:
    like = frames(50, 3)
    # each feature is within its range, but not together with the others
    shuffled = torch.stack([like[torch.randperm(50), i] for i in range(C)], dim=1)
    for other in (like + 4 * like.std(0), 3 * like, shuffled):
        assert (feature_distance(other, fitted) > fitted["ood.threshold"]).float().mean() > 0.9


def test_rounding_to_half_precision_does_not_matter(fitted: dict[str, torch.Tensor]) -> None:
    rounded = {name: tensor.half().float() for name, tensor in fitted.items()}
    before, after = (feature_distance(frames(50, 4), one) for one in (fitted, rounded))
    torch.testing.assert_close(after, before, rtol=0.02, atol=0)


def test_fewer_frames_than_features_will_do() -> None:
    found = fit_features(frames(24, 5))
    assert all(torch.isfinite(t).all() for t in found.values())
    with pytest.raises(ValueError, match="16 frames or more, got 3"):
        fit_features(frames(3, 5))


def test_statistics_are_told_from_weights(fitted: dict[str, torch.Tensor]) -> None:
    device = torch.device("cpu")
    everything = {"stem.0.weight": torch.zeros(1), **fitted}
    assert feature_statistics(everything, device).keys() == fitted.keys()
    assert feature_statistics({"stem.0.weight": torch.zeros(1)}, device) is None
