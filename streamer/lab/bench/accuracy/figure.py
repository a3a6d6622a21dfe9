"""The picture of the bench, after Fig. 3 of Su et al. 2024 (doi:10.1107/S1600577524000146)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from ...simulate import EDGE_REGION
from .measure import ORACLE, UNALIGNED, Exhibit
from .runner import RegimeResult
from .scene import OURS

# One of each family; the table has them all.
_SHOWN = {
    OURS[0]: "#56B4E9",
    OURS[1]: "#0072B2",
    "absolute_template": "#D55E00",
    "relative_template": "#E69F00",
    "sift_affine": "#CC79A7",
    "stackreg_previous": "#009E73",
    "flow_tvl1": "#999933",
    "roi_first": "#882255",
    "trackpy": "#7F7F7F",
}

_ORACLE_STYLE: dict[str, Any] = {"color": "black", "lw": 1.2, "ls": ":"}

_LOW_RECALL = 0.9


def draw(results: Sequence[RegimeResult], title: str) -> Figure:
    """Draw differential maps, error and similarity over the scan, and rms in all regimes.

    Parameters
    ----------
    results : of the regimes; the maps and curves are those of ``paper``, else of the first.
    title : heading.
    """
    shown = next((r for r in results if r.regime.name == "paper"), results[0])
    figure = Figure(figsize=(17, 13), layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(title, fontsize=15)
    parts = figure.subfigures(3, 1, height_ratios=(0.5, 1.1, 1.1))
    top, middle, bottom = np.asarray(parts, dtype=object)
    _maps(top, shown)
    left, right = middle.subplots(1, 2)
    _errors(left, shown)
    _similarity(right, shown)
    _bars(bottom.subplots(1, 1), results)
    return figure


def _maps(figure: Any, result: RegimeResult) -> None:
    show = result.exhibit
    names = [UNALIGNED, *(n for n in _SHOWN if n in show.difference), ORACLE]
    axes = np.atleast_1d(figure.subplots(1, len(names)))
    reach = float(np.nanpercentile(np.abs(show.difference[UNALIGNED]), 99))
    image = None
    for ax, name in zip(axes, names, strict=True):
        difference = show.difference[name]
        image = ax.imshow(difference, cmap="RdBu_r", vmin=-reach, vmax=reach)
        if not np.isfinite(difference).any():
            ax.text(0.5, 0.5, "lost", ha="center", va="center", transform=ax.transAxes)
        ax.set_title(name.replace("_", "\n", 1).replace(", ", ",\n"), fontsize=10)
        ax.set_xticks([])
        ax.set_yticks([])
        for spine in ax.spines.values():
            spine.set_color(_SHOWN.get(name, "black"))
            spine.set_linewidth(2)
    figure.colorbar(image, ax=axes, fraction=0.012, pad=0.005, shrink=0.6, label="OD")
    early, late = (f"{show.energies[f[0]]:.0f}..{show.energies[f[-1]]:.0f} eV" for f in show.spans)
    figure.suptitle(
        f"(a) {result.regime.name}: particle {show.particle}, mean of {late} minus "
        f"{show.gain:.1f} times that of {early}",
        fontsize=11,
        x=0.01,
        ha="left",
    )


def _errors(axes: Axes, result: RegimeResult) -> None:
    show = result.exhibit
    for name, curve in show.errors.items():
        if name in _SHOWN:
            axes.plot(curve, **_style(name), label=f"{name}: {_rms(result, name):.2f} px")
    _log_scale(axes)
    axes.set_ylabel("error of all particles, px rms")
    _frames(axes, show)
    axes.set_title(f"(b) {result.regime.name}: distance from the truth", fontsize=11, loc="left")
    axes.legend(fontsize=8, ncols=3, loc="upper center")
    _headroom(axes, 0.25)


def _rms(result: RegimeResult, name: str) -> float:
    return result.figures[name]["ungated"]


def _similarity(axes: Axes, result: RegimeResult) -> None:
    show = result.exhibit
    for name, curve in show.ssim.items():
        mean = float(np.nanmean(curve)) if np.isfinite(curve).any() else np.nan
        if name in _SHOWN or name == ORACLE:
            style = _ORACLE_STYLE if name == ORACLE else _style(name)
            axes.plot(np.arange(len(curve)), curve, **style, label=f"{name}: {mean:.4f}")
    axes.set_ylabel("SSIM with the next frame")
    _frames(axes, show)
    title = f"(c) {result.regime.name}: similarity of adjacent aligned ROIs, "
    axes.set_title(f"{title}particle {show.particle}", fontsize=11, loc="left")
    low, high = axes.get_ylim()
    axes.set_ylim(low - 0.25 * (high - low), high)
    axes.legend(fontsize=8, ncols=4, loc="lower center")


def _style(name: str) -> dict[str, Any]:
    ours = name in OURS
    return {"color": _SHOWN[name], "lw": 1.8 if ours else 0.9, "zorder": 3 if ours else 2}


def _frames(axes: Axes, show: Exhibit) -> None:
    """Label the frames and shade those at the edge."""
    low, high = EDGE_REGION
    at = (show.energies >= low) & (show.energies <= high)
    axes.fill_between(
        np.arange(len(at)), 0, 1, where=at, transform=axes.get_xaxis_transform(), color="0.92"
    )
    axes.set_xlim(0, len(at) - 1)
    axes.set_xlabel("frame (shaded: at the absorption edge)")
    axes.grid(alpha=0.3)


def _log_scale(axes: Axes) -> None:
    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_minor_formatter(NullFormatter())


def _headroom(axes: Axes, share: float) -> None:
    """Make room for a legend above what a logarithmic axis shows."""
    low, high = axes.get_ylim()
    axes.set_ylim(low, high * (high / low) ** share)


def _bars(axes: Axes, results: Sequence[RegimeResult]) -> None:
    names = [n for n in _SHOWN if any(n in r.figures for r in results)]
    width = 0.85 / len(names)
    for number, name in enumerate(names):
        rms = np.array([r.figures.get(name, {}).get("ungated", np.nan) for r in results])
        recall = np.array([r.figures.get(name, {}).get("recall", 0.0) for r in results])
        at = np.arange(len(results)) + (number - (len(names) - 1) / 2) * width
        bars = axes.bar(at, rms, width, color=_SHOWN[name], label=name)
        for bar, share in zip(bars, recall, strict=True):
            if share < _LOW_RECALL:
                bar.set_hatch("////")
                bar.set_edgecolor("white")
    _log_scale(axes)
    axes.set_xticks(range(len(results)), [r.regime.name.replace("_", "\n") for r in results])
    axes.set_xlim(-0.6, len(results) - 0.4)
    axes.set_ylabel("rms of whole trajectories, px")
    axes.grid(axis="y", alpha=0.3)
    axes.set_axisbelow(True)
    _headroom(axes, 0.15)
    axes.legend(fontsize=9, ncols=len(names), loc="upper center")
    axes.set_title(
        "(d) all regimes; hatched: fewer than nine in ten instances found within half a radius",
        fontsize=11,
        loc="left",
    )
