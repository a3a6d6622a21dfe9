"""The bench as files: ``accuracy.json``, ``accuracy.md`` and ``accuracy.png``."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from ....config import Settings
from ..columns import COLUMNS, IDENTITY, POSITION, Figure
from .figure import draw
from .runner import RegimeResult
from .scene import ORACLE_STARTED, OURS

_PACKAGES = ("numpy", "scipy", "torch", "pandas", "scikit-image")
_PEER_PACKAGES = ("pystackreg", "trackpy", "opencv-python-headless")
_SURE_RECALL = 0.9
_NOTES = (
    "Position errors are rms distances in px, over the instances that lie within half a radius of "
    "their particle (see recall), but for the column ungated. Peers are given the true positions "
    "in one frame above the edge; those under 'from truth' in every frame, to refine.",
)
SUMMARY_HEAD = (
    "regime",
    "provisional",
    "final",
    "below",
    "at",
    "above",
    "step",
    "within/CRB",
    "NEES above",
    "recall",
    "false",
    "switches",
    "best peer",
    "best from truth",
)


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


# The figures as Markdown, and as rows for a terminal.


def summary_rows(results: Iterable[RegimeResult]) -> list[list[str]]:
    """One row of text per regime, under :data:`SUMMARY_HEAD`."""
    keys = ("below", "at", "above", "step", "crb_within", "nees_above", "recall")
    keys = (*keys, "false_per_frame", "switches")
    by_key = {column.key: column for column in COLUMNS}
    rows = []
    for result in results:
        first, final = (result.figures[name] for name in OURS)
        rms = [by_key["rms"].text(found.get("rms")) for found in (first, final)]
        rest = [by_key[key].text(final.get(key)) for key in keys]
        best = [_named(result, best_peer(result, from_truth=flag)) for flag in (False, True)]
        rows.append([result.regime.name, *rms, *rest, *best])
    return rows


def best_peer(result: RegimeResult, *, from_truth: bool = False) -> str | None:
    """Name the peer of smallest rms among those that followed nine in ten instances.

    Parameters
    ----------
    result : of a regime.
    from_truth : among those that start from the true position in every frame, else the others.
    """
    able = {
        name: figures["rms"]
        for name, figures in result.figures.items()
        if name not in OURS
        and (name in ORACLE_STARTED) == from_truth
        and figures.get("recall", 0.0) >= _SURE_RECALL
    }
    return min(able, key=lambda name: able[name]) if able else None


def _named(result: RegimeResult, name: str | None) -> str:
    return "-" if name is None else f"{result.figures[name]['rms']:.3f} ({name})"


def markdown(results: Sequence[RegimeResult], title: str) -> str:
    """Write a summary, all figures of each regime, and what the columns mean."""
    parts = [f"# {title}", *_NOTES, ""]
    parts += _grid(SUMMARY_HEAD, summary_rows(results))
    for result in results:
        regime = result.regime
        parts += ["", f"## {regime.name}", f"{regime.description}; {result.scale}.", ""]
        for columns in (POSITION, IDENTITY):
            head = ["estimator", *(column.head for column in columns)]
            parts += [*_grid(head, _rows(result, columns)), ""]
        parts += [f"- {name} failed: {why}" for name, why in result.failures.items()]
    parts += ["", "## Columns", *(f"- {c.head}: {c.meaning}" for c in COLUMNS)]
    return "\n".join(parts) + "\n"


def _rows(result: RegimeResult, columns: Sequence[Figure]) -> list[list[str]]:
    return [
        [name, *(column.text(figures.get(column.key)) for column in columns)]
        for name, figures in result.figures.items()
    ]


def _grid(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    def line(cells: Iterable[str]) -> str:
        return f"| {' | '.join(cells)} |"

    rule = ["---", *("---:" for _ in head[1:])]
    return [line(head), line(rule), *(line(row) for row in rows)]
