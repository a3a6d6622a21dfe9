"""Detectors as tables, files and a picture."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import version
from itertools import pairwise
from math import inf
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ...config import Settings
from .detection import LEAST_CONTRAST, RULES, DetectionResult
from .harness import Column, Report, Table, fingerprint, new_figure, processor_settings, versions
from .regimes import FIRST_SEED

CONTRASTS = (LEAST_CONTRAST, 7.0, 10.0, 15.0, 20.0, 40.0, inf)
"""Bounds of the classes of contrast for which recall is told, in units of `contrast_noise`."""
_CLASSES = [
    f"{low:g}..{high:g}" if high < inf else f"{low:g}.." for low, high in pairwise(CONTRASTS)
]
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#7F7F7F")
_ROOM = 0.8  # of a regime's row of bars
COLUMNS = (
    Column("regime", "regime"),
    Column("detector", "detector"),
    Column("required", "asked", "d"),
    Column("precision", "precision", ".3f"),
    Column("recall", "recall", ".3f"),
    Column("f1", "F1", ".3f"),
    Column("best_f1", "best F1", ".3f"),
    Column("best_threshold", "at score", ".2f"),
    Column("iou", "IoU", ".3f"),
    Column("position_median", "median px", ".2f"),
    Column("position_rms", "rms px", ".2f"),
    Column("frame_ms", "ms", ".1f"),
    Column("cpu_ms", "ms CPU", ".1f"),
    Column("misses", "missed"),
    Column("made_up", "made up"),
)


def report(
    results: Sequence[DetectionResult],
    settings: Settings,
    left_out: Mapping[str, str],
    *,
    quick: bool,
) -> Report:
    """Gather all figures, one row per regime and detector, and a picture.

    Parameters
    ----------
    results : of the regimes that were run. settings : of the processor.
    left_out : detectors that could not be made, and why. quick : told in the heading.
    """
    kind = "quick" if quick else "full"
    return Report(
        name="detection",
        figures={
            "versions": versions("numpy", "scipy", "torch"),
            "quick": quick,
            "rules": RULES,
            "first_seed": FIRST_SEED,
            "processor": processor_settings(settings),
            "threshold": settings.link.min_score,
            "left_out": left_out,
            "regimes": {result.regime.name: _figures(result, quick=quick) for result in results},
            "recall_by_contrast": recall_by_contrast(results),
        },
        rows=rows(results),
        picture=draw(results, f"Detectors of operando {version('operando')} ({kind})"),
    )


def _figures(result: DetectionResult, *, quick: bool) -> dict[str, Any]:
    simulated = result.regime.simulated(quick=quick)
    return {
        "description": result.regime.description,
        "preset": result.regime.preset,
        "changes": result.regime.changes,
        "seeds": result.seeds,
        "simulated_sha256": fingerprint(*(one.model_dump_json() for one in simulated)),
        "energies": simulated[0].model_dump(mode="json")["energies"],
        "frames": result.frames,
        "required": len(result.contrast),
        "not_asked_for": result.excused,
        "detectors": {name: found.summary() for name, found in result.detectors.items()},
    }


def rows(results: Iterable[DetectionResult]) -> pd.DataFrame:
    """Return one row per regime and detector, with everything that was counted."""
    return pd.DataFrame(
        {
            "regime": result.regime.name,
            "detector": name,
            "frames": result.frames,
            "required": len(result.contrast),
            **result.excused,
            **{key: _flat(value) for key, value in found.score.summary().items()},
            "best_f1": found.best.f1,
            "best_threshold": found.best.threshold,
            "frame_ms": found.spent.clock,
            "cpu_ms": found.spent.processor,
        }
        for result in results
        for name, found in result.detectors.items()
    )


def _flat(value: Any) -> Any:
    """Write kinds of what went wrong as text, so that they take one column each."""
    if isinstance(value, Mapping):
        return ", ".join(f"{count} {kind}" for kind, count in value.items())
    return value


def recall_by_contrast(results: Sequence[DetectionResult]) -> dict[str, list[dict[str, Any]]]:
    """Count what was found at the pipeline's threshold by class of contrast, all regimes together.

    Returns
    -------
    By detector: from, to (in units of `contrast_noise`), required, found.
    """
    if not results:
        return {}
    contrast = np.concatenate([r.contrast for r in results])
    counts: dict[str, list[dict[str, Any]]] = {}
    for name in results[0].detectors:
        found = np.concatenate([r.detectors[name].found for r in results])
        counts[name] = [
            {"from": low, "to": high, "required": int(one.sum()), "found": int(found[one].sum())}
            for low, high in pairwise(CONTRASTS)
            for one in [(contrast >= low) & (contrast < high)]
        ]
    return counts


def tables(results: Sequence[DetectionResult]) -> tuple[Table, Table]:
    """Lay out the figures by regime, and recall by contrast."""
    by_regime: Any = rows(results).to_dict("records")
    classes = [
        {"detector": name}
        | {
            label: f"{one['found'] / one['required']:.2f} of {one['required']}"
            for label, one in zip(_CLASSES, counts, strict=True)
            if one["required"]
        }
        for name, counts in recall_by_contrast(results).items()
    ]
    title = "recall by contrast, in units of the rms contrast of the empty frame"
    heads = (Column("detector", "detector"), *(Column(label, label) for label in _CLASSES))
    return (
        Table("detection, IoU 0.5 or more", COLUMNS, by_regime, group="regime"),
        Table(title, heads, classes),
    )


def draw(results: Sequence[DetectionResult], title: str) -> Figure:
    """Draw bars of F1 at the pipeline's threshold, marks at the best one, and recall by contrast.

    Parameters
    ----------
    results : of the regimes, one or more. title : heading.
    """
    figure = new_figure(15, 5.5 + 0.2 * len(results), title)
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
        colour = _COLOURS[number % len(_COLOURS)]
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
        axes.plot(share, "o-", color=_COLOURS[number % len(_COLOURS)], label=name)
        for x, one in enumerate(classes):
            if not number and one["required"]:
                axes.text(x, -0.06, f"{one['required']}", ha="center", fontsize=8)
    axes.set_xticks(range(len(_CLASSES)), _CLASSES)
    axes.set_ylim(-0.1, 1.05)
    axes.set_xlabel("contrast over that of the empty frame, rms (below: how many)")
    axes.set_ylabel("recall")
    axes.grid(alpha=0.3)
    axes.set_title("(b) by contrast, all regimes", fontsize=11, loc="left")
    axes.legend(fontsize=9, loc="lower right")
