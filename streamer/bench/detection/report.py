"""The bench as files: ``detection.json``, ``detection.csv`` and ``detection.png``."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from ...config import Settings
from .figure import draw
from .regimes import FIRST_SEED
from .runner import RegimeResult
from .scenes import RULES
from .table import recall_by_contrast, rows

_PACKAGES = ("operando", "numpy", "scipy", "torch")


def write_report(
    results: Sequence[RegimeResult],
    folder: Path,
    settings: Settings,
    left_out: Mapping[str, str],
    *,
    quick: bool,
) -> list[Path]:
    """Write all figures, one row per regime and detector, and a picture.

    Parameters
    ----------
    results : of the regimes that were run. folder : is made if need be.
    settings : of the processor. left_out : detectors that could not be made, and why.
    quick : told in the heading.

    Returns
    -------
    Paths of the three files.
    """
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"detection.{suffix}" for suffix in ("json", "csv", "png")]
    content = as_json(results, settings, left_out, quick=quick)
    paths[0].write_text(json.dumps(content, indent=1, allow_nan=False) + "\n")
    rows(results).to_csv(paths[1], index=False)
    kind = "quick" if quick else "full"
    title = f"Detectors of operando {version('operando')} ({kind})"
    draw(results, title).savefig(paths[2], dpi=110)
    return paths


def as_json(
    results: Sequence[RegimeResult],
    settings: Settings,
    left_out: Mapping[str, str],
    *,
    quick: bool,
) -> dict[str, Any]:
    """Everything that was measured, and what it takes to measure it again; NaN becomes None."""
    content = {
        "versions": {name: version(name) for name in _PACKAGES},
        "quick": quick,
        "rules": RULES,
        "first_seed": FIRST_SEED,
        "processor": {"profile": settings.profile, "settings_sha256": settings.sha256},
        "threshold": settings.link.min_score,
        "left_out": dict(left_out),
        "regimes": {result.regime.name: _regime(result, quick=quick) for result in results},
        "recall_by_contrast": recall_by_contrast(results),
    }
    return _plain(content)


def _regime(result: RegimeResult, *, quick: bool) -> dict[str, Any]:
    simulated = [one.model_dump_json() for one in result.regime.simulated(quick=quick)]
    return {
        "description": result.regime.description,
        "preset": result.regime.preset,
        "changes": dict(result.regime.changes),
        "seeds": list(result.seeds),
        "simulated_sha256": hashlib.sha256("\n".join(simulated).encode()).hexdigest(),
        "energies": json.loads(simulated[0])["energies"],
        "frames": result.frames,
        "required": len(result.contrast),
        "not_asked_for": dict(result.excused),
        "detectors": {name: found.summary() for name, found in result.detectors.items()},
    }


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_plain(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
