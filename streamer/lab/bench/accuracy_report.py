"""Accuracy as tables, files and a picture.

The picture is made after Fig. 3 of Su et al. 2024 (doi:10.1107/S1600577524000146).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from ...config import Settings
from ..simulate import EDGE_REGION
from .accuracy import ORACLE, ORACLE_STARTED, OURS, Exhibit, RegimeResult
from .estimates import UNALIGNED
from .harness import (
    Column,
    Report,
    Table,
    fingerprint,
    legend,
    new_figure,
    processor_settings,
    show_image,
    versions,
)

_PACKAGES = ("numpy", "scipy", "torch", "pandas", "scikit-image")
_PEER_PACKAGES = ("pystackreg", "trackpy", "opencv-python-headless")
_SURE_RECALL = 0.9  # by eye: below it errors are those of the easy instances
_NOTES = (
    "Position errors are rms distances in px, over the instances that lie within half a radius of "
    "their particle (see recall), but for the column ungated. Peers are given the true positions "
    "in one frame above the edge; those under 'from truth' in every frame, to refine.",
)

POSITION = (
    Column("rms", "rms", ".3f", "px, one constant offset per particle removed"),
    Column("median", "median", ".3f", "px, of the same errors"),
    Column("p95", "p95", ".3f", "px, of the same errors"),
    Column("below", "below", ".3f", "rms below the edge, px"),
    Column("at", "at", ".3f", "rms at the edge, px"),
    Column("above", "above", ".3f", "rms above the edge, px"),
    Column("within_below", "within below", ".3f", "rms below the edge, offset removed there, px"),
    Column("within_above", "within above", ".3f", "rms above the edge, offset removed there, px"),
    Column("step", "step", ".3f", "jump of the mean error from below to above the edge, px"),
    Column("ungated", "ungated", ".2f", "rms of trajectories however far off they are, px"),
    Column("crb_above", "rms/CRB", ".1f", "above the edge, the constant offset removed"),
    Column("crb_within", "within/CRB", ".1f", "above the edge, the offset removed there"),
    Column("nees", "NEES", ".2f", "2 for honest error bars, over all energies"),
    Column("nees_above", "NEES above", ".2f", "the same above the edge"),
    Column("nees_within", "NEES within", ".2f", "the same, the offset removed there"),
)
IDENTITY = (
    Column("recall", "recall", ".3f", "share of wanted instances that were measured"),
    Column("false_per_frame", "false", ".3f", "measured positions on no particle, per frame"),
    Column("switches", "switches", ".0f", "changes of the identity that explains a particle"),
    Column("idf1", "IDF1", ".3f", "share of instances with the right identity"),
    Column("hota", "HOTA", ".3f", "higher-order tracking accuracy"),
    Column("delay", "delay", ".1f", "frames until what came (back) into view is measured, median"),
    Column("never", "never", ".0f", "returns and losses after which it was not measured again"),
    Column("kept", "kept", ".2f", "share of returns with the old identity"),
    Column("ssim", "SSIM", ".4f", "mean similarity of adjacent aligned ROIs"),
    Column("ssim_oracle", "oracle", ".4f", "the same if aligned by the truth"),
    Column("ssim_var", "SSIM var", ".1e", "variance of the same"),
    Column("ssim_var_oracle", "oracle var", ".1e", "variance if aligned by the truth"),
    Column("residual", "residual", ".3f", "rms of last minus first on the rim over that inside"),
    Column("residual_oracle", "oracle res.", ".3f", "the same if aligned by the truth"),
    Column("seconds", "s", ".1f", "time that the peer took"),
)
COLUMNS = (*POSITION, *IDENTITY)
_ESTIMATOR = Column("estimator", "estimator")
_IN_SUMMARY = ("below", "at", "above", "step", "crb_within", "nees_above", "recall")
SUMMARY = (
    Column("regime", "regime"),
    Column("provisional", "provisional", ".3f"),
    Column("final", "final", ".3f"),
    *(c for key in (*_IN_SUMMARY, "false_per_frame", "switches") for c in COLUMNS if c.key == key),
    Column("best_peer", "best peer"),
    Column("best_from_truth", "best from truth"),
)


def report(
    results: Sequence[RegimeResult], settings: Settings, *, seed: int, quick: bool
) -> Report:
    """Gather all figures, tables for people and a picture.

    Parameters
    ----------
    results : of the regimes that were run. settings : of the processor.
    seed : of the simulator. quick : told in the heading.
    """
    kind = "quick" if quick else "full"
    title = f"Accuracy of operando {version('operando')} ({kind}, seed {seed})"
    return Report(
        name="accuracy",
        figures={
            "versions": versions(*_PACKAGES, *_PEER_PACKAGES),
            "seed": seed,
            "quick": quick,
            "processor": processor_settings(settings),
            "columns": {column.key: column.meaning for column in COLUMNS},
            "regimes": {result.regime.name: _figures(result) for result in results},
        },
        markdown=[f"# {title}", *_NOTES, "", *_markdown(results)],
        picture=draw(results, title),
    )


def _figures(result: RegimeResult) -> dict[str, Any]:
    simulated = result.settings.model_dump_json()
    return {
        "description": result.regime.description,
        "order": result.regime.order,
        "seed": result.settings.seed,
        "simulated": json.loads(simulated),
        "simulated_sha256": fingerprint(simulated),
        "frames": result.n_frames,
        "particles": result.n_particles,
        "ledgers": result.ledgers,
        "estimates": result.figures,
        "failures": result.failures,
    }


def _markdown(results: Sequence[RegimeResult]) -> Iterator[Table | str]:
    yield summary(results)
    for result in results:
        scale = f"{result.n_frames} frames, {result.n_particles} particles"
        yield from ("", f"## {result.regime.name}", f"{result.regime.description}; {scale}.", "")
        rows = [{"estimator": name, **found} for name, found in result.figures.items()]
        for columns in (POSITION, IDENTITY):
            yield from (Table("", (_ESTIMATOR, *columns), rows), "")
        yield from (f"- {name} failed: {why}" for name, why in result.failures.items())
    yield from ("", *legend(COLUMNS))


def summary(results: Sequence[RegimeResult]) -> Table:
    """Lay out one row per regime."""
    rows = []
    for result in results:
        first, final = (result.figures[name] for name in OURS)
        row: dict[str, Any] = {**final, "regime": result.regime.name, "final": final.get("rms")}
        row["provisional"] = first.get("rms")
        for key, from_truth in (("best_peer", False), ("best_from_truth", True)):
            name = best_peer(result, from_truth=from_truth)
            row[key] = None if name is None else f"{result.figures[name]['rms']:.3f} ({name})"
        rows.append(row)
    return Table("rms errors, px", SUMMARY, rows)


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


def draw(results: Sequence[RegimeResult], title: str) -> Figure:
    """Draw differential maps, error and similarity over the scan, and rms in all regimes.

    Parameters
    ----------
    results : of the regimes; the maps and curves are those of ``paper``, else of the first.
    title : heading.
    """
    shown = next((r for r in results if r.regime.name == "paper"), results[0])
    figure = new_figure(17, 13, title)
    parts = figure.subfigures(3, 1, height_ratios=(0.5, 1.1, 1.1))
    top, middle, bottom = np.asarray(parts, dtype=object)
    _maps(top, shown)
    left, right = middle.subplots(1, 2)
    _errors(left, shown)
    _similarity(right, shown)
    _bars(bottom.subplots(1, 1), results)
    return figure


def _maps(figure: Any, result: RegimeResult) -> None:
    exhibit = result.exhibit
    names = [UNALIGNED, *(n for n in _SHOWN if n in exhibit.difference), ORACLE]
    axes = np.atleast_1d(figure.subplots(1, len(names)))
    reach = float(np.nanpercentile(np.abs(exhibit.difference[UNALIGNED]), 99))
    image = None
    for ax, name in zip(axes, names, strict=True):
        difference = exhibit.difference[name]
        title = name.replace("_", "\n", 1).replace(", ", ",\n")
        image = show_image(ax, difference, title, cmap="RdBu_r", vmin=-reach, vmax=reach)
        if not np.isfinite(difference).any():
            ax.text(0.5, 0.5, "lost", ha="center", va="center", transform=ax.transAxes)
        for spine in ax.spines.values():
            spine.set(color=_SHOWN.get(name, "black"), linewidth=2)
    figure.colorbar(image, ax=axes, fraction=0.012, pad=0.005, shrink=0.6, label="OD")
    energies = exhibit.energies
    early, late = (f"{energies[f[0]]:.0f}..{energies[f[-1]]:.0f} eV" for f in exhibit.spans)
    figure.suptitle(
        f"(a) {result.regime.name}: particle {exhibit.particle}, mean of {late} minus "
        f"{exhibit.gain:.1f} times that of {early}",
        fontsize=11,
        x=0.01,
        ha="left",
    )


def _errors(axes: Axes, result: RegimeResult) -> None:
    for name, curve in result.exhibit.errors.items():
        if name in _SHOWN:
            rms = result.figures[name]["ungated"]
            axes.plot(curve, **_style(name), label=f"{name}: {rms:.2f} px")
    _log_scale(axes)
    axes.set_ylabel("error of all particles, px rms")
    _frames(axes, result.exhibit)
    axes.set_title(f"(b) {result.regime.name}: distance from the truth", fontsize=11, loc="left")
    axes.legend(fontsize=8, ncols=3, loc="upper center")
    _headroom(axes, 0.25)


def _similarity(axes: Axes, result: RegimeResult) -> None:
    exhibit = result.exhibit
    for name, curve in exhibit.ssim.items():
        mean = float(np.nanmean(curve)) if np.isfinite(curve).any() else np.nan
        if name in _SHOWN or name == ORACLE:
            style = _ORACLE_STYLE if name == ORACLE else _style(name)
            axes.plot(np.arange(len(curve)), curve, **style, label=f"{name}: {mean:.4f}")
    axes.set_ylabel("SSIM with the next frame")
    _frames(axes, exhibit)
    title = f"(c) {result.regime.name}: similarity of adjacent aligned ROIs, "
    axes.set_title(f"{title}particle {exhibit.particle}", fontsize=11, loc="left")
    low, high = axes.get_ylim()
    axes.set_ylim(low - 0.25 * (high - low), high)
    axes.legend(fontsize=8, ncols=4, loc="lower center")


def _style(name: str) -> dict[str, Any]:
    ours = name in OURS
    return {"color": _SHOWN[name], "lw": 1.8 if ours else 0.9, "zorder": 3 if ours else 2}


def _frames(axes: Axes, exhibit: Exhibit) -> None:
    """Label the frames and shade those at the edge."""
    low, high = EDGE_REGION
    at = (exhibit.energies >= low) & (exhibit.energies <= high)
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
            if share < _SURE_RECALL:
                bar.set(hatch="////", edgecolor="white")
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
