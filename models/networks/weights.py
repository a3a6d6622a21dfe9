"""Weights of the networks on disk, and the statistics of features stored with them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

SHIPPED: Mapping[str, str] = {
    "generator": "cyclegan.safetensors",
    "dual_unet": "dual_unet.safetensors",
}
"""Files in the package, by network; their checksums are in ``SHA256SUMS`` beside them."""

_META = "operando"
_PACKAGE = "operando.models"


class WeightsError(ValueError):
    """Weights that are not there, or not what they should be."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Weights:
    """Weights of one network.

    Attributes
    ----------
    network : ``generator`` or ``dual_unet``.
    tensors : its parameters and statistics, float32.
    about : what they were made with and how good they are, JSON data; ``about["arguments"]`` are
        those of the network's class.
    sha256 : of the file.
    """

    network: str
    tensors: dict[str, Tensor]
    about: dict[str, Any]
    sha256: str


def store(path: Path, network: str, tensors: Mapping[str, Tensor], about: Mapping[str, Any]) -> str:
    """Write weights as safetensors, rounded to float16.

    Parameters
    ----------
    path : file to write. network : its name. tensors : its state.
    about : plain JSON data.

    Returns
    -------
    The sha256 of the file.
    """
    small = {
        name: (t.half() if t.is_floating_point() else t).detach().cpu().contiguous()
        for name, t in tensors.items()
    }
    wide = [name for name, t in small.items() if not torch.isfinite(t.float()).all()]
    if wide:
        raise WeightsError(f"{path.name}: {wide[0]} has values beyond float16; train again")
    note = json.dumps({"network": network, **about}, sort_keys=True)
    content = save(small, metadata={_META: note})
    path.write_bytes(content)
    return hashlib.sha256(content).hexdigest()


def fetch(network: str, path: str | Path | None = None) -> Weights:
    """Read weights: those in the package, or those of a file.

    Parameters
    ----------
    network : which network they are for.
    path : a safetensors file written by `store`; None for the shipped ones, whose checksum is
        verified.

    Raises
    ------
    WeightsError
        If the file is missing, damaged, has another checksum, or is for another network.
    """
    name = str(path) if path is not None else SHIPPED[network]
    try:
        source = Path(path) if path is not None else files(_PACKAGE) / "weights" / name
        content = source.read_bytes()
    except (OSError, TypeError) as error:
        raise WeightsError(f"weights of the {network}: cannot read {name} ({error})") from error
    digest = hashlib.sha256(content).hexdigest()
    if path is None and digest != _promised(name):
        raise WeightsError(
            f"{name}: wanted sha256 {_promised(name)}, got {digest}; install the package again"
        )
    return _parse(network, name, content, digest)


def _parse(network: str, name: str, content: bytes, digest: str) -> Weights:
    try:
        # the header is 8 bytes of length, then JSON
        size = int.from_bytes(content[:8], "little")
        note = json.loads(content[8 : 8 + size])["__metadata__"][_META]
        about = dict(json.loads(note))
        tensors = load(content)
    except (SafetensorError, ValueError, KeyError, TypeError) as error:
        raise WeightsError(
            f"{name}: wanted weights written by `operando train`, got a damaged or other file"
        ) from error
    if about.get("network") != network:
        raise WeightsError(
            f"{name}: wanted weights of the {network}, got those of {about.get('network')!r}"
        )
    if not isinstance(about.get("arguments"), dict):
        raise WeightsError(
            f"{name}: wanted the arguments of the {network}, got {about.get('arguments')!r}; "
            "write weights with `operando train`"
        )
    floats = {k: t.float() if t.is_floating_point() else t for k, t in tensors.items()}
    return Weights(network=network, tensors=floats, about=about, sha256=digest)


def _promised(name: str) -> str:
    """Look up the checksum of a shipped file."""
    try:
        lines = (files(_PACKAGE) / "weights" / "SHA256SUMS").read_text().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise WeightsError(
            f"SHA256SUMS of the weights cannot be read ({error}); install the package again"
        ) from error
    for line in lines:
        digest, _, file = line.partition("  ")
        if file.strip() == name:
            return digest
    raise WeightsError(f"SHA256SUMS does not name {name}; install the package again")


# Statistics of features, to tell frames that are unlike those that the generator was trained with.
#
# The Mahalanobis distance of the features in the bottleneck of the generator from those of the
# training frames (Lee et al. 2018, arXiv 1807.03888, there per class), with a covariance that is
# shrunk towards its diagonal, as there are hardly more frames than features.

FEATURES = "ood."
_SHRINKAGE = 0.1  # by eye, as the rest
_FLOOR = 1e-3  # of the largest spread: features that hardly vary mean nothing
_HELD_OUT = 4  # one frame of so many is not fitted, but sets the threshold
_QUANTILE = 0.995  # of the distances of frames that are held out
_MARGIN = 1.5  # times that


def fit_features(features: Tensor) -> dict[str, Tensor]:
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
    distances = feature_distance(features[held_out], _moments(features[~held_out]))
    found = _moments(features)
    found["ood.threshold"] = _MARGIN * distances.quantile(_QUANTILE)
    return {name: tensor.float() for name, tensor in found.items()}


def feature_distance(features: Tensor, tensors: Mapping[str, Tensor]) -> Tensor:
    """Compute the Mahalanobis distance per root of the number of features, (N,); 1 if alike.

    Parameters
    ----------
    features : (N, C). tensors : what `fit_features` returned.
    """
    standard = (features - tensors["ood.mean"]) / tensors["ood.spread"]
    return (standard @ tensors["ood.whitening"]).square().mean(dim=1).sqrt()


def feature_statistics(
    tensors: Mapping[str, Tensor], device: torch.device
) -> dict[str, Tensor] | None:
    """Select the statistics among the tensors of a file of weights; None if it has none."""
    found = {k: t.to(device) for k, t in tensors.items() if k.startswith(FEATURES)}
    return found or None


def _moments(features: Tensor) -> dict[str, Tensor]:
    mean, spread = features.mean(0), features.std(0)
    spread = spread.clamp_min(_FLOOR * float(spread.max()) + 1e-9)
    standard = (features - mean) / spread
    covariance = standard.T @ standard / len(standard)
    shrunk = (1 - _SHRINKAGE) * covariance + _SHRINKAGE * torch.eye(len(covariance)).double()
    values, vectors = torch.linalg.eigh(shrunk)
    return {"ood.mean": mean, "ood.spread": spread, "ood.whitening": vectors / values.sqrt()}
