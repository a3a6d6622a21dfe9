"""The comparison with Su et al. 2024 as one table, and as a figure after their Fig. 3."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib.metadata import version
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter

from ....models.arrays import Array
from .estimates import DifferentialMaps, differential_maps, mean_known
from .harness import Column, Report, Table, legend, new_figure, show_image
from .paper import COLUMNS, NOT_IN_TERMINAL, ORACLE, WAYS, PaperResult
from .paper_set import NAME, PEAK_RATIO, RIGID, SIMILARITY, SPEED_SECONDS

_PUBLISHED: Mapping[str, str] = {
    "ssim_one": f"{SIMILARITY:.4f}",
    "seconds": f"< {SPEED_SECONDS:.0f}",
}
_SURE_RECALL = 0.9  # by eye: below it errors are those of the easy instances
_METHOD = Column("method", "method")


def report(result: PaperResult, *, quick: bool) -> Report:
    """Gather the table, what it takes to read it, all figures and a picture.

    Parameters
    ----------
    result : of the bench. quick : told in the heading.
    """
    settings = result.series.simulator.settings
    kind = "quick" if quick else "full"
    title = f"operando {version('operando')} beside Su et al. 2024 ({kind}, seed {settings.seed})"
    simulated = ("## Simulated with", "```json", settings.model_dump_json(indent=1), "```")
    lines = [f"- {line}" for line in remarks(result)]
    return Report(
        name="paper",
        markdown=[
            *(f"# {title}", "", table(result), "", *lines),
            *("", *legend(COLUMNS), "", *simulated),
        ],
        rows=pd.DataFrame([{"method": NAME, **_PUBLISHED}, *_rows(result)]).reindex(
            columns=["method", *dict.fromkeys(k for f in result.figures.values() for k in f)]
        ),
        picture=draw(result, title),
    )


def table(result: PaperResult, *, terminal: bool = False) -> Table:
    """Lay out what is published, then each method; a terminal has no room for all columns."""
    columns = [c for c in COLUMNS if not (terminal and c.key in NOT_IN_TERMINAL)]
    rows = [{"method": NAME, **_PUBLISHED}, *_rows(result)]
    return Table("beside Su et al. 2024", (_METHOD, *columns), rows)


def _rows(result: PaperResult) -> list[dict[str, float | str]]:
    return [{"method": name, **figures} for name, figures in result.figures.items()]


def remarks(result: PaperResult) -> Iterator[str]:
    """Tell what must be known to read the table."""
    series, figures = result.series, result.figures
    truth = series.truth
    y, x = result.ratio
    yield (
        f"{truth.n_frames} projections of {truth.shape[0]} x {truth.shape[1]} px, "
        f"{truth.n_particles} particles, seed {series.simulator.settings.seed}; * is particle "
        f"{result.particle}, of median size among those that move by themselves. The paper's "
        "figure is of its particle 2, of a set that is not published: the two sets differ in all "
        "that the paper does not tell (motion in px, noise, sizes, contrast)."
    )
    yield (
        f"Peak motion from frame to frame, non-rigid over rigid: {y:.2f} vertical, {x:.2f} "
        f"horizontal (published: {PEAK_RATIO[0]} and {PEAK_RATIO[1]}; in px "
        "nothing is published)."
    )
    yield (
        "SSIM: Wang et al. 2004, Gaussian window 11 x 11 of sigma 1.5, K 0.01 and 0.03, range 1 OD "
        "(the paper's equation 1 is misprinted, its constants are not given), of the ROIs of 2.8 "
        "radii in adjacent frames, cut at the measured positions. Noise lowers it whatever the "
        "alignment, and interpolation between pixels, which smooths noise, raises it: compare with "
        "the row of the oracle, and see 'clean', the same positions on frames without noise. "
        "Adjacent pairs do not see an error that grows slowly: see 'far'."
    )
    yield (
        "Position error: distance from the truth, one constant offset per particle removed, "
        "whatever its size. The paper gives none. Peers are told the true positions in one frame "
        "above the edge; their time is that of registration alone."
    )
    for name, why in result.left_out.items():
        yield f"left out: {name}: {' '.join(why.split())}"
    yield from result.notes
    worse = [n for n, f in figures.items() if f.get("recall", 1.0) < _SURE_RECALL]
    if worse:
        yield f"followed less than nine in ten instances, so that errors may flatter: {worse}"


# The figure, after Fig. 3 of Su et al. 2024 (doi:10.1107/S1600577524000146).

_OURS = "#0072B2"
_THEIRS = "#D55E00"
COLOURS = (
    "#000000",
    "#E69F00",
    "#56B4E9",
    "#009E73",
    "#D55E00",
    "#0072B2",
    "#CC79A7",
    "#999933",
    "#882255",
)
"""By particle; the one with the rigid motion only is number 0, black as in the paper."""
_AVERAGE = 5  # one frame below the edge is mostly noise


def draw(result: PaperResult, title: str) -> Figure:
    """Draw frames, differential maps, displacement, velocities and similarities.

    Parameters
    ----------
    result : of the bench. title : heading.
    """
    truth = result.series.truth
    seed = result.series.simulator.settings.seed
    about = (
        f"{title}\nsynthetic set: {truth.n_frames} projections, {truth.n_particles} particles, "
        f"{truth.shape[0]} x {truth.shape[1]} px, seed {seed}; particle {result.particle} stands "
        "for the paper's particle 2"
    )
    figure = new_figure(19, 20, about)
    parts = figure.subfigures(3, 1, height_ratios=(1.6, 1.0, 1.25))
    top, middle, bottom = np.asarray(parts, dtype=object)
    left, right = top.subfigures(1, 2, width_ratios=(1.0, 2.4))
    _frames(left, result)
    average = max(1, min(_AVERAGE, truth.n_frames // 2))
    _maps(right, maps_of(result, average), average)
    name = followed(result)
    axes = middle.subplots(1, 3)
    displacement(axes[0], result, name)
    velocity(axes[1], result, name, 0)
    velocity(axes[2], result, name, 1)
    _similarities(bottom, result)
    return figure


def followed(result: PaperResult) -> str:
    """Name the way of ours whose trajectories are drawn: the first that ran."""
    ran = (way.name for way in WAYS if way.name in result.measured)
    return next(ran, next(iter(result.measured)))


def _frames(figure: Any, result: PaperResult) -> None:
    """Draw the first and last frame with the true contours."""
    series = result.series
    truth = series.truth
    figure.suptitle("(a) optical density, true contours", fontsize=11, x=0.02, ha="left")
    axes = figure.subplots(2, 1)
    for ax, frame in zip(axes, (0, truth.n_frames - 1), strict=True):
        about = f"projection {frame + 1}, {truth.energies[frame]:.0f} eV"
        shown = show_image(ax, series.od[frame], about, size=9)
        for particle in range(truth.n_particles):
            line = COLOURS[particle % len(COLOURS)]
            mask = series.simulator.mask(frame, particle).astype(float)
            ax.contour(mask, levels=[0.5], colors=[line], linewidths=1.4)
            y, x = truth.yx[frame, particle]
            ax.text(x, y, str(particle), color="white", ha="center", va="center", fontsize=9)
        figure.colorbar(shown, ax=ax, fraction=0.04, label="OD")


def maps_of(result: PaperResult, average: int) -> DifferentialMaps:
    """Make the maps of the particle that is shown, of so many first and last frames."""
    series, particle = result.series, result.particle
    truth = series.truth
    paths = {name: one.paths for name, one in result.measured.items()}
    frames = np.arange(truth.n_frames)
    spans = frames[:average], frames[-average:]
    return differential_maps(series.od, truth, particle, paths, spans, ORACLE)


def _maps(figure: Any, maps: DifferentialMaps, average: int) -> None:
    figure.suptitle(
        "(b) differential maps, OD: upper of each pair last minus first projection (right scale); "
        f"lower mean of the last {average}\nminus {maps.gain:.1f} times that of the first "
        f"{average}, less an offset (left scale); contrast of the oracle's pictures",
        fontsize=11,
        x=0.02,
        ha="left",
    )
    names = list(maps.plain)
    columns = -(-len(names) // 2)
    axes = figure.subplots(4, columns, squeeze=False)
    for ax in axes.ravel():
        ax.set_axis_off()
    for row, (kind, where) in enumerate(((maps.plain, "right"), (maps.matched, "left"))):
        reach = float(np.nanpercentile(np.abs(kind[ORACLE]), 99.5))
        image = None
        for number, name in enumerate(names):
            ax = axes[2 * (number // columns) + row, number % columns]
            image = ax.imshow(kind[name], cmap="RdBu_r", vmin=-reach, vmax=reach)
            if not np.isfinite(kind[name]).any():
                ax.text(0.5, 0.5, "lost", ha="center", va="center", transform=ax.transAxes)
            if row == 0:
                broken = name.replace(", ", ",\n", 1).replace(" (", "\n(").replace("_", "\n")
                ax.set_title(broken, fontsize=9)
        figure.colorbar(image, ax=axes, location=where, fraction=0.02, pad=0.01, shrink=0.6)


def _similarities(figure: Any, result: PaperResult) -> None:
    """Draw mean and variance of the SSIM, and position errors, by method."""
    figure.suptitle(
        "(f) similarity of adjacent aligned ROIs, and distance from the truth, by method: diamonds "
        f"and numbers particle {result.particle}, dots each particle, bars all of them",
        fontsize=11,
        x=0.02,
        ha="left",
    )
    axes = figure.subplots(1, 5, sharey=True, width_ratios=(1, 1, 0.7, 0.8, 0.9))
    names = list(result.measured)
    _means(axes[0], result, clean=False)
    _means(axes[1], result, clean=True)
    _variances(axes[2], result)
    _by_method(axes[3], result, "far", "far_one", ".4f")
    axes[3].margins(x=0.2)
    axes[3].set_title("mean SSIM with the last frame,\nabove the edge, without noise", fontsize=9)
    axes[3].set_xlabel("SSIM (axis does not start at 0)")
    _errors(axes[4], result)
    axes[0].set_yticks(range(len(names)), [name.replace("_", " ") for name in names])
    axes[0].set_ylim(len(names) - 0.4, -0.6)
    for ax in axes:
        ax.grid(alpha=0.3)


def _means(axes: Axes, result: PaperResult, *, clean: bool) -> None:
    prefix = "clean_" if clean else ""
    _by_method(axes, result, f"{prefix}ssim", f"{prefix}ssim_one", ".4f")
    for row, (name, found) in enumerate(result.measured.items()):
        values = mean_known(found.clean if clean else found.pairs)
        axes.plot(values, np.full(len(values), row), ".", color=colour(name), ms=5)
    axes.axvline(SIMILARITY, color=_THEIRS, ls="--", lw=1.4)
    axes.set_xlim(right=1.01)
    kind = "frames without noise" if clean else "frames as measured"
    axes.set_title(
        f"mean SSIM, {kind}\n(dashed: {SIMILARITY:.2%} in the paper, for one\nparticle "
        "of its own set)",
        fontsize=9,
    )
    axes.set_xlabel("SSIM (axis does not start at 0)")


def _by_method(axes: Axes, result: PaperResult, all_: str, one: str, form: str) -> None:
    """Mark a figure of all particles by a bar, that of the one shown by a diamond with its number.

    A position error has no row for the oracle, whose error is nothing.
    """
    for row, name in enumerate(result.measured):
        figures, ink = result.figures[name], colour(name)
        if name == ORACLE and all_ == "rms":
            continue
        axes.plot(figures[all_], row, "|", color=ink, ms=20, mew=3)
        axes.plot(figures[one], row, "D", color=ink, ms=7, mec="black")
        numbers = format(figures[one], form)
        if all_ == "rms":
            numbers += f"; all {figures[all_]:{form}}"
        axes.text(figures[one], row - 0.32, numbers, ha="center", va="center", fontsize=8)


def _variances(axes: Axes, result: PaperResult) -> None:
    for row, name in enumerate(result.measured):
        figures = result.figures[name]
        axes.plot(figures["var_one"], row, "D", color=colour(name), ms=7, mec="black")
        axes.plot(figures["clean_var_one"], row, "D", mfc="none", mec=colour(name), ms=7)
    axes.set_xscale("log")
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_xlim(1e-5, 1e-1)
    axes.set_title(
        f"variance of SSIM, particle {result.particle}\n(filled: as measured, open: without noise)",
        fontsize=9,
    )
    axes.set_xlabel("variance")


def _errors(axes: Axes, result: PaperResult) -> None:
    _by_method(axes, result, "rms", "rms_one", ".2f")
    axes.set_xscale("log")
    axes.xaxis.set_minor_formatter(NullFormatter())
    low, high = axes.get_xlim()
    axes.set_xlim(low / 2, high * 2)
    axes.set_title("position error, px rms\n(the paper gives none)", fontsize=9)
    axes.set_xlabel("px")


def colour(name: str) -> str:
    """Paint ours blue, the oracle black, the peers grey."""
    if name == ORACLE:
        return "black"
    return _OURS if any(name == way.name for way in WAYS) else "#7F7F7F"


# Displacement and velocity of every particle over the series.


def cumulative(yx: Array) -> Array:
    """Sum up the way gone by each particle since the first frame (F, P), px.

    Parameters
    ----------
    yx : (F, P, 2) px. Where a particle was not followed it is NaN, and a gap counts as its chord.
    """
    gone = np.full(yx.shape[:2], np.nan)
    for particle in range(yx.shape[1]):
        known = np.flatnonzero(np.isfinite(yx[:, particle]).all(axis=1))
        if known.size:
            steps = np.linalg.norm(np.diff(yx[known, particle], axis=0), axis=1)
            gone[known, particle] = np.concatenate([[0.0], np.cumsum(steps)])
    return gone


def displacement(axes: Axes, result: PaperResult, name: str) -> None:
    """Draw panel (c): cumulative displacement, measured and true."""
    truth, measured = result.series.truth, result.measured[name].paths
    for particle, curve in enumerate(cumulative(measured).T):
        label = f"{particle}, rigid" if particle == RIGID else str(particle)
        style = _style(particle)
        axes.plot(curve, **style, label=label)
        axes.plot(cumulative(truth.yx)[:, particle], ls=":", lw=1.0, color=style["color"])
    axes.set_title(
        f"(c) cumulative displacement (sum of the steps), {name}; dotted: truth",
        fontsize=10,
        loc="left",
    )
    axes.set_ylabel("px")
    axes.set_xlabel("projection")
    axes.legend(fontsize=8, ncols=2, title="particle", title_fontsize=8)


def velocity(axes: Axes, result: PaperResult, name: str, axis: int) -> None:
    """Draw panel (d) or (e): one component of the motion between adjacent projections."""
    truth, measured = result.series.truth, result.measured[name].paths
    order = [*(p for p in range(truth.n_particles) if p != RIGID), RIGID]
    for particle in order:
        axes.plot(np.diff(measured[:, particle, axis]), **_style(particle))
    true = np.diff(truth.yx[:, RIGID, axis])
    axes.plot(true, ls=":", lw=1.4, color="white", zorder=6)
    error = np.diff(measured[..., axis], axis=0) - np.diff(truth.yx[..., axis], axis=0)
    scatter = float(np.sqrt(np.nanmean(error**2))) if np.isfinite(error).any() else np.nan
    word, letter = (("vertical", "d"), ("horizontal", "e"))[axis]
    axes.set_title(
        f"({letter}) {word} velocity, {name}; peak ratio to the rigid one {result.ratio[axis]:.2f} "
        f"in truth\n      dotted white: truth of the rigid one; error {scatter:.2f} px rms",
        fontsize=10,
        loc="left",
    )
    axes.set_ylabel("px per projection")
    axes.set_xlabel("projection")


def _style(particle: int) -> dict[str, Any]:
    rigid = particle == RIGID
    return {
        "color": COLOURS[particle % len(COLOURS)],
        "lw": 2.2 if rigid else 0.9,
        "zorder": 5 if rigid else 2,
    }
