"""The bench as files: ``detection.json``, ``detection.csv`` and ``detection.png``."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from importlib.metadata import version
from itertools import pairwise
from math import inf, isnan
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from rich.table import Table

from ....config import Settings
from .regimes import FIRST_SEED
from .runner import DetectionResult, DetectorResult
from .scenes import LEAST_CONTRAST, RULES

_PACKAGES = ("operando", "numpy", "scipy", "torch")
CONTRASTS = (LEAST_CONTRAST, 7.0, 10.0, 15.0, 20.0, 40.0, inf)
"""Bounds of the classes of contrast for which recall is told, in units of `contrast_noise`."""
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#7F7F7F")
_ROOM = 0.8


def write_report(
    results: Sequence[DetectionResult],
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
    results: Sequence[DetectionResult],
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


def _regime(result: DetectionResult, *, quick: bool) -> dict[str, Any]:
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


# The figures as rows: for a terminal, and for ``detection.csv``.


def rows(results: Iterable[DetectionResult]) -> pd.DataFrame:
    """One row per regime and detector, with everything that was counted."""
    return pd.DataFrame(
        {
            "regime": result.regime.name,
            "detector": name,
            "frames": result.frames,
            "required": len(result.contrast),
            **result.excused,
            **_flat(found.score.summary()),
            "best_f1": found.best.f1,
            "best_threshold": found.best.threshold,
            "frame_ms": found.spent.clock,
            "cpu_ms": found.spent.processor,
        }
        for result in results
        for name, found in result.detectors.items()
    )


def _flat(summary: Mapping[str, Any]) -> dict[str, Any]:
    """Kinds of what went wrong as text, so that they take one column each."""
    kinds = {k: _kinds(v) for k, v in summary.items() if isinstance(v, Mapping)}
    return {**summary, **kinds}


def _kinds(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {kind}" for kind, count in counts.items())


def recall_by_contrast(results: Sequence[DetectionResult]) -> dict[str, list[dict[str, Any]]]:
    """Recall at the pipeline's threshold for each class of contrast, all regimes together.

    Returns
    -------
    By detector: from, to (in units of `contrast_noise`), required, found.
    """
    if not results:
        return {}
    contrast = np.concatenate([r.contrast for r in results])
    told: dict[str, list[dict[str, Any]]] = {}
    for name in results[0].detectors:
        found = np.concatenate([r.detectors[name].found for r in results])
        told[name] = [
            {"from": low, "to": high, "required": int(one.sum()), "found": int(found[one].sum())}
            for low, high in pairwise(CONTRASTS)
            for one in [(contrast >= low) & (contrast < high)]
        ]
    return told


def tables(results: Sequence[DetectionResult]) -> Iterator[Table]:
    """What a terminal shows: by regime, then by contrast."""
    table = Table(title="detection, IoU 0.5 or more", title_justify="left")
    heads = ("regime", "detector", "asked", "precision", "recall", "F1", "best F1", "at score")
    heads = (*heads, "IoU", "median px", "rms px", "ms", "ms CPU", "missed", "made up")
    for number, head in enumerate(heads):
        left = number < 2 or number >= len(heads) - 2
        table.add_column(head, justify="left" if left else "right")
    for result in results:
        for name, found in result.detectors.items():
            table.add_row(*_cells(result, name, found))
        table.add_section()
    yield table
    table = Table(
        title="recall by contrast, in units of the rms contrast of the empty frame",
        title_justify="left",
    )
    table.add_column("detector")
    for low, high in pairwise(CONTRASTS):
        table.add_column(f"{low:g}..{high:g}" if high < inf else f"{low:g}..", justify="right")
    for name, classes in recall_by_contrast(results).items():
        table.add_row(name, *(_recall(one) for one in classes))
    yield table


def _cells(result: DetectionResult, name: str, found: DetectorResult) -> list[str]:
    score = found.score
    shares = [_text(v, ".3f") for v in (score.precision, score.recall, score.f1, found.best.f1)]
    lengths = (score.position_median, score.position_rms)
    return [
        result.regime.name,
        name,
        str(len(result.contrast)),
        *shares,
        _text(found.best.threshold, ".2f"),
        _text(score.iou, ".3f"),
        *(_text(length, ".2f") for length in lengths),
        _text(found.spent.clock, ".1f"),
        _text(found.spent.processor, ".1f"),
        _kinds(score.misses),
        _kinds(score.made_up),
    ]


def _recall(one: Mapping[str, Any]) -> str:
    if not one["required"]:
        return "-"
    return f"{one['found'] / one['required']:.2f} of {one['required']}"


def _text(value: float, form: str) -> str:
    return "-" if isnan(value) else format(value, form)


# F1 of every detector by regime, and recall by contrast, as one picture.


def draw(results: Sequence[DetectionResult], title: str) -> Figure:
    """Draw bars of F1 at the pipeline's threshold, marks at the best one, and recall by contrast.

    Parameters
    ----------
    results : of the regimes, one or more. title : heading.
    """
    figure = Figure(figsize=(15, 5.5 + 0.2 * len(results)), layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(title, fontsize=14)
    left, right = figure.subplots(1, 2, width_ratios=(1.6, 1.0))
    _bars(left, results)
    _recall_axes(right, results)
    return figure


def _bars(axes: Axes, results: Sequence[DetectionResult]) -> None:
    names = list(results[0].detectors)
    height = _ROOM / len(names)
    for number, name in enumerate(names):
        found = [result.detectors[name] for result in results]
        at = np.arange(len(results)) + (number - (len(names) - 1) / 2) * height
        f1 = np.nan_to_num([one.score.f1 for one in found])
        milliseconds = np.median([one.spent.processor for one in found])
        colour = COLOURS[number % len(COLOURS)]
        label = f"{name} ({milliseconds:.0f} ms of processor per frame)"
        axes.barh(at, f1, height, color=colour, label=label)
        best = [one.best.f1 for one in found]
        axes.plot(best, at, "|", color="black", ms=9, mew=1.5)
        for y, value in zip(at, f1, strict=True):
            axes.text(1.004, y, f"{value:.3f}", va="center", fontsize=8, color=colour)
    axes.set_yticks(range(len(results)), [result.regime.name for result in results])
    axes.invert_yaxis()
    lowest = min(one.score.f1 for result in results for one in result.detectors.values())
    axes.set_xlim(max(0.0, min(0.9, np.nan_to_num(lowest) - 0.05)), 1.0)
    axes.set_xlabel("F1 at the pipeline's threshold; | at the best threshold")
    axes.grid(axis="x", alpha=0.3)
    axes.set_axisbelow(True)
    axes.set_title("(a) by regime", fontsize=11, loc="left")
    axes.legend(fontsize=9, loc="lower left")


def _recall_axes(axes: Axes, results: Sequence[DetectionResult]) -> None:
    for number, (name, classes) in enumerate(recall_by_contrast(results).items()):
        share = [one["found"] / one["required"] if one["required"] else np.nan for one in classes]
        axes.plot(share, "o-", color=COLOURS[number % len(COLOURS)], label=name)
        for x, one in enumerate(classes):
            if not number and one["required"]:
                axes.text(x, -0.06, f"{one['required']}", ha="center", fontsize=8)
    ticks = [
        f"{low:g}..{high:g}" if high < inf else f"{low:g}.." for low, high in pairwise(CONTRASTS)
    ]
    axes.set_xticks(range(len(ticks)), ticks)
    axes.set_ylim(-0.1, 1.05)
    axes.set_xlabel("contrast over that of the empty frame, rms (below: how many)")
    axes.set_ylabel("recall")
    axes.grid(alpha=0.3)
    axes.set_title("(b) by contrast, all regimes", fontsize=11, loc="left")
    axes.legend(fontsize=9, loc="lower right")
