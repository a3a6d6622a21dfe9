"""Detect frames that are unlike those that the generator was trained with.

The Mahalanobis distance of the features in the bottleneck of the generator from those of the
training frames (Lee et al. 2018, arXiv 1807.03888, there per class), with a covariance that is
shrunk towards its diagonal, as there are hardly more frames than features.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

PREFIX = "ood."
_SHRINKAGE = 0.1  # by eye, as the rest
_FLOOR = 1e-3  # of the largest spread: features that hardly vary mean nothing
_HELD_OUT = 4  # one frame of so many is not fitted, but sets the threshold
_QUANTILE = 0.995  # of the distances of frames that are held out
_MARGIN = 1.5  # times that


def fit(features: Tensor) -> dict[str, Tensor]:
    """Fit statistics to the frames of a training, to be stored with the weights.

    Parameters
    ----------
    features : (N, C) float32, see `Generator.translate`; N of at least 16 frames.

    Returns
    -------
    Tensors by name, that survive being rounded to float16: ``ood.mean`` (C,), ``ood.spread``
    (C,), ``ood.whitening`` (C, C) of the features over their spread, and ``ood.threshold`` (),
    the distance above which a frame is unlike all others.

    Raises
    ------
    ValueError
        If there are too few frames.
    """
    if len(features) < 16:
        raise ValueError(f"features: wanted those of 16 frames or more, got {len(features)}")
    features = features.double().cpu()
    held_out = torch.arange(len(features)) % _HELD_OUT == 0
    distances = distance(features[held_out], _moments(features[~held_out]))
    found = _moments(features)
    found["ood.threshold"] = _MARGIN * distances.quantile(_QUANTILE)
    return {name: tensor.float() for name, tensor in found.items()}


def distance(features: Tensor, tensors: Mapping[str, Tensor]) -> Tensor:
    """Compute the Mahalanobis distance per root of the number of features, (N,); 1 if alike.

    Parameters
    ----------
    features : (N, C). tensors : what `fit` returned.
    """
    standard = (features - tensors["ood.mean"]) / tensors["ood.spread"]
    return (standard @ tensors["ood.whitening"]).square().mean(dim=1).sqrt()


def statistics(tensors: Mapping[str, Tensor], device: torch.device) -> dict[str, Tensor] | None:
    """Select them among the tensors of a file of weights; None if it has none."""
    found = {k: t.to(device) for k, t in tensors.items() if k.startswith(PREFIX)}
    return found or None


def _moments(features: Tensor) -> dict[str, Tensor]:
    mean, spread = features.mean(0), features.std(0)
    spread = spread.clamp_min(_FLOOR * float(spread.max()) + 1e-9)
    standard = (features - mean) / spread
    covariance = standard.T @ standard / len(standard)
    shrunk = (1 - _SHRINKAGE) * covariance + _SHRINKAGE * torch.eye(len(covariance)).double()
    values, vectors = torch.linalg.eigh(shrunk)
    return {
        "ood.mean": mean,
        "ood.spread": spread,
        "ood.whitening": vectors / values.sqrt(),
    }
