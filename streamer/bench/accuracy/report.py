"""The bench as files: ``accuracy.json``, ``accuracy.md`` and ``accuracy.png``."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from ...config import Settings
from .columns import COLUMNS
from .figure import draw
from .runner import RegimeResult
from .table import markdown

_PACKAGES = ("numpy", "scipy", "torch", "pandas", "scikit-image")
_PEER_PACKAGES = ("pystackreg", "trackpy", "opencv-python-headless")


def write_report(
    results: Sequence[RegimeResult], folder: Path, settings: Settings, *, seed: int, quick: bool
) -> list[Path]:
    """Write all figures, a table for people and a picture.

    Parameters
    ----------
    results : of the regimes that were run. folder : is made if need be.
    settings : of the processor. seed : of the simulator. quick : told in the heading.

    Returns
    -------
    Paths of the three files.
    """
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"accuracy.{suffix}" for suffix in ("json", "md", "png")]
    content = as_json(results, settings, seed=seed, quick=quick)
    paths[0].write_text(json.dumps(content, indent=1) + "\n")
    kind = "quick" if quick else "full"
    title = f"Accuracy of operando {version('operando')} ({kind}, seed {seed})"
    paths[1].write_text(markdown(results, title))
    draw(results, title).savefig(paths[2], dpi=110)
    return paths


def as_json(
    results: Sequence[RegimeResult], settings: Settings, *, seed: int, quick: bool
) -> dict[str, Any]:
    """Everything that was measured, and what it takes to measure it again; NaN becomes None."""
    return {
        "versions": {"operando": version("operando"), **_versions()},
        "seed": seed,
        "quick": quick,
        "processor": {"profile": settings.profile, "settings_sha256": settings.sha256},
        "columns": {column.key: column.meaning for column in COLUMNS},
        "regimes": {result.regime.name: _regime(result) for result in results},
    }


def _regime(result: RegimeResult) -> dict[str, Any]:
    simulated = result.settings.model_dump_json()
    return {
        "description": result.regime.description,
        "order": result.regime.order,
        "seed": result.settings.seed,
        "simulated": json.loads(simulated),
        "simulated_sha256": hashlib.sha256(simulated.encode()).hexdigest(),
        "frames": result.n_frames,
        "particles": result.n_particles,
        "ledgers": result.ledgers,
        "estimates": {
            name: {key: _number(value) for key, value in figures.items()}
            for name, figures in result.figures.items()
        },
        "failures": result.failures,
    }


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _versions() -> dict[str, str]:
    found = {}
    for name in (*_PACKAGES, *_PEER_PACKAGES):
        try:
            found[name] = version(name)
        except PackageNotFoundError:  # a peer's library need not be there
            found[name] = ""
    return found
