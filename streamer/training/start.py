"""Weights that a training begins with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import Tensor

from ...models.networks.ood import PREFIX
from ...models.networks.weights import WeightsError, fetch
from ..errors import ConfigError


def read_start(path: str | Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Weights of a generator to begin with.

    Parameters
    ----------
    path : a safetensors file written by `operando train cyclegan`.

    Returns
    -------
    Its tensors, and the arguments of its class.

    Raises
    ------
    ConfigError
        If there are none in that file.
    """
    try:
        found = fetch("generator", path)
    except WeightsError as error:
        raise ConfigError(f"--start: {error}") from error
    own = {k: t for k, t in found.tensors.items() if not k.startswith(PREFIX)}
    return own, found.about["arguments"]
