"""The figures as rows: for a terminal, and for ``detection.csv``."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from math import inf, isnan
from typing import Any

import numpy as np
import pandas as pd
from rich.table import Table

from .runner import DetectorResult, RegimeResult
from .scenes import LEAST_CONTRAST

CONTRASTS = (LEAST_CONTRAST, 7.0, 10.0, 15.0, 20.0, 40.0, inf)
"""Bounds of the classes of contrast for which recall is told, in units of `contrast_noise`."""


def rows(results: Iterable[RegimeResult]) -> pd.DataFrame:
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


def recall_by_contrast(results: Sequence[RegimeResult]) -> dict[str, list[dict[str, Any]]]:
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


def tables(results: Sequence[RegimeResult]) -> Iterator[Table]:
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


def _cells(result: RegimeResult, name: str, found: DetectorResult) -> list[str]:
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
