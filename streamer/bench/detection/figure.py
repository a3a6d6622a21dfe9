"""F1 of every detector by regime, and recall by contrast, as one picture."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from math import inf

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from .runner import RegimeResult
from .table import CONTRASTS, recall_by_contrast

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#7F7F7F")
_ROOM = 0.8


def draw(results: Sequence[RegimeResult], title: str) -> Figure:
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


def _bars(axes: Axes, results: Sequence[RegimeResult]) -> None:
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


def _recall_axes(axes: Axes, results: Sequence[RegimeResult]) -> None:
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
