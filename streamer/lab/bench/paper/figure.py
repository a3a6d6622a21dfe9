"""The figure, after Fig. 3 of Su et al. 2024 (doi:10.1107/S1600577524000146)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter
from numpy.typing import NDArray

from .....models.arrays import Array
from ...evaluate.similarity import sides_of, windows
from . import series
from .runner import ORACLE, PaperResult
from .series import RIGID
from .ways import WAYS

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
UNALIGNED = "unaligned"
_AVERAGE = 5  # one frame below the edge is mostly noise


def draw(result: PaperResult, title: str) -> Figure:
    """Draw frames, differential maps, displacement, velocities and similarities.

    Parameters
    ----------
    result : of the bench. title : heading.
    """
    figure = Figure(figsize=(19, 20), layout="constrained")
    FigureCanvasAgg(figure)
    truth = result.series.truth
    seed = result.series.simulator.settings.seed
    figure.suptitle(
        f"{title}\nsynthetic set: {truth.n_frames} projections, {truth.n_particles} particles, "
        f"{truth.shape[0]} x {truth.shape[1]} px, seed {seed}; particle {result.particle} stands "
        "for the paper's particle 2",
        fontsize=14,
    )
    parts = figure.subfigures(3, 1, height_ratios=(1.6, 1.0, 1.25))
    top, middle, bottom = np.asarray(parts, dtype=object)
    left, right = top.subfigures(1, 2, width_ratios=(1.0, 2.4))
    _frames(left, result)
    _maps(right, differential_maps(result))
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
    """First and last frame with the true contours."""
    series = result.series
    truth = series.truth
    figure.suptitle("(a) optical density, true contours", fontsize=11, x=0.02, ha="left")
    axes = figure.subplots(2, 1)
    for ax, frame in zip(axes, (0, truth.n_frames - 1), strict=True):
        image = series.od[frame]
        low, high = np.nanpercentile(image, [1, 99.5])
        shown = ax.imshow(image, cmap="gray", vmin=low, vmax=high)
        for particle in range(truth.n_particles):
            line = COLOURS[particle % len(COLOURS)]
            mask = series.simulator.mask(frame, particle).astype(float)
            ax.contour(mask, levels=[0.5], colors=[line], linewidths=1.4)
            y, x = truth.yx[frame, particle]
            ax.text(x, y, str(particle), color="white", ha="center", va="center", fontsize=9)
        ax.set_title(f"projection {frame + 1}, {truth.energies[frame]:.0f} eV", fontsize=9)
        ax.set_xticks([])
        ax.set_yticks([])
        figure.colorbar(shown, ax=ax, fraction=0.04, label="OD")


def _maps(figure: Any, maps: Maps) -> None:
    figure.suptitle(
        "(b) differential maps, OD: upper of each pair last minus first projection (right scale); "
        f"lower mean of the last {maps.average}\nminus {maps.gain:.1f} times that of the first "
        f"{maps.average}, less an offset (left scale); contrast of the oracle's pictures",
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
                ax.set_title(_broken(name), fontsize=9)
        figure.colorbar(image, ax=axes, location=where, fraction=0.02, pad=0.01, shrink=0.6)


def _broken(name: str) -> str:
    return name.replace(", ", ",\n", 1).replace(" (", "\n(").replace("_", "\n")


def _similarities(figure: Any, result: PaperResult) -> None:
    """Mean and variance of the SSIM, and position errors, by method."""
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
    _lasting(axes[3], result)
    _errors(axes[4], result)
    axes[0].set_yticks(range(len(names)), [name.replace("_", " ") for name in names])
    axes[0].set_ylim(len(names) - 0.4, -0.6)
    for ax in axes:
        ax.grid(alpha=0.3)


def _means(axes: Axes, result: PaperResult, *, clean: bool) -> None:
    prefix = "clean_" if clean else ""
    for row, (name, found) in enumerate(result.measured.items()):
        figures = result.figures[name]
        values = column_means(found.clean if clean else found.pairs)
        one = figures[f"{prefix}ssim_one"]
        axes.plot(values, np.full(len(values), row), ".", color=colour(name), ms=5)
        axes.plot(figures[f"{prefix}ssim"], row, "|", color=colour(name), ms=20, mew=3)
        axes.plot(one, row, "D", color=colour(name), ms=7, mec="black")
        axes.text(one, row - 0.32, f"{one:.4f}", ha="center", va="center", fontsize=8)
    axes.axvline(series.SIMILARITY, color=_THEIRS, ls="--", lw=1.4)
    axes.set_xlim(right=1.01)
    kind = "frames without noise" if clean else "frames as measured"
    axes.set_title(
        f"mean SSIM, {kind}\n(dashed: {series.SIMILARITY:.2%} in the paper, for one\nparticle "
        "of its own set)",
        fontsize=9,
    )
    axes.set_xlabel("SSIM (axis does not start at 0)")


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


def _lasting(axes: Axes, result: PaperResult) -> None:
    for row, name in enumerate(result.measured):
        figures = result.figures[name]
        axes.plot(figures["far"], row, "|", color=colour(name), ms=20, mew=3)
        axes.plot(figures["far_one"], row, "D", color=colour(name), ms=7, mec="black")
        numbers = f"{figures['far_one']:.4f}"
        axes.text(figures["far_one"], row - 0.32, numbers, ha="center", va="center", fontsize=8)
    axes.margins(x=0.2)
    axes.set_title("mean SSIM with the last frame,\nabove the edge, without noise", fontsize=9)
    axes.set_xlabel("SSIM (axis does not start at 0)")


def _errors(axes: Axes, result: PaperResult) -> None:
    for row, name in enumerate(result.measured):
        if name == ORACLE:
            continue
        figures = result.figures[name]
        axes.plot(figures["rms"], row, "|", color=colour(name), ms=20, mew=3)
        axes.plot(figures["rms_one"], row, "D", color=colour(name), ms=7, mec="black")
        numbers = f"{figures['rms_one']:.2f}; all {figures['rms']:.2f}"
        axes.text(figures["rms_one"], row - 0.32, numbers, ha="center", va="center", fontsize=8)
    axes.set_xscale("log")
    axes.xaxis.set_minor_formatter(NullFormatter())
    low, high = axes.get_xlim()
    axes.set_xlim(low / 2, high * 2)
    axes.set_title("position error, px rms\n(the paper gives none)", fontsize=9)
    axes.set_xlabel("px")


def colour(name: str) -> str:
    """Ours blue, the oracle black, the peers grey."""
    if name == ORACLE:
        return "black"
    return _OURS if any(name == way.name for way in WAYS) else "#7F7F7F"


def column_means(pairs: NDArray[np.float32]) -> NDArray[np.float64]:
    """Mean of each column (P,), NaN where it has no value."""
    known = np.isfinite(pairs)
    count = known.sum(axis=0)
    return np.where(known, pairs, 0).sum(axis=0) / np.where(count > 0, count, np.nan)


# Displacement and velocity of every particle over the series.


def cumulative(yx: Array) -> Array:
    """Way gone by each particle since the first frame (F, P), px.

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
    """Panel (c): cumulative displacement, measured and true."""
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
    """Panels (d), (e): one component of the motion between adjacent projections."""
    truth, measured = result.series.truth, result.measured[name].paths
    order = [*(p for p in range(truth.n_particles) if p != RIGID), RIGID]
    for particle in order:
        axes.plot(np.diff(measured[:, particle, axis]), **_style(particle))
    true = np.diff(truth.yx[:, RIGID, axis])
    axes.plot(true, ls=":", lw=1.4, color="white", zorder=6)
    error = np.diff(measured[..., axis], axis=0) - np.diff(truth.yx[..., axis], axis=0)
    word, letter = (("vertical", "d"), ("horizontal", "e"))[axis]
    axes.set_title(
        f"({letter}) {word} velocity, {name}; peak ratio to the rigid one {result.ratio[axis]:.2f} "
        f"in truth\n      dotted white: truth of the rigid one; error {_rms(error):.2f} px rms",
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


def _rms(values: Array) -> float:
    known = values[np.isfinite(values)]
    return float(np.sqrt((known**2).mean())) if known.size else float("nan")


# Differential maps of one particle: its last aligned picture minus its first.


@dataclass(frozen=True, slots=True, kw_only=True)
class Maps:
    """By method, also without any alignment; (S, S) OD, all NaN where the particle was lost.

    Attributes
    ----------
    plain : last frame minus first, as the paper shows it.
    matched : mean of the last frames minus `gain` times that of the first ones, less an offset:
        both pictures have the contrast of the last, so that only misalignment and chemistry stay.
    gain : of the pictures that are aligned by the truth. average : frames in each mean.
    """

    plain: Mapping[str, Array]
    matched: Mapping[str, Array]
    gain: float
    average: int


def differential_maps(result: PaperResult) -> Maps:
    """Make the maps of the particle that is shown."""
    series, particle = result.series, result.particle
    truth = series.truth
    still = np.broadcast_to(truth.yx[0], truth.yx.shape)
    found = {name: one.paths for name, one in result.measured.items()}
    paths = {name: path[:, [particle]] for name, path in {UNALIGNED: still, **found}.items()}
    average = max(1, min(_AVERAGE, truth.n_frames // 2))
    side = sides_of(truth.radius[[particle]])
    rois = {name: _rois(series.od, path, side, average) for name, path in paths.items()}
    means = {name: [_mean(part) for part in both] for name, both in rois.items()}
    gain, offset = contrast(*means[ORACLE])
    return Maps(
        plain={name: last[-1] - first[0] for name, (first, last) in rois.items()},
        matched={name: last - gain * first - offset for name, (first, last) in means.items()},
        gain=gain,
        average=average,
    )


def contrast(first: Array, last: Array) -> tuple[float, float]:
    """Gain and offset, by least squares, that take the first picture to the last."""
    known = np.isfinite(first) & np.isfinite(last)
    if not known.any():
        return 1.0, 0.0
    a, b = first[known], last[known]
    centred = a - a.mean()
    gain = float(centred @ b / max(centred @ centred, 1e-12))
    return gain, float(b.mean() - gain * a.mean())


def _rois(
    od: NDArray[np.float32], path: Array, side: NDArray[np.int64], n: int
) -> tuple[Array, Array]:
    """The first and the last n pictures (n, S, S) along a path (F, 1, 2)."""
    ends = [(od[part], path[part]) for part in (slice(None, n), slice(-n, None))]
    first, last = (
        np.stack([one[0, 0].numpy() for one in windows(*end, side)]).astype(np.float64)
        for end in ends
    )
    return first, last


def _mean(stack: Array) -> Array:
    """Mean over the pictures that have a pixel; NaN where none has."""
    known = np.isfinite(stack)
    count = known.sum(axis=0)
    return np.where(known, stack, 0).sum(axis=0) / np.where(count > 0, count, np.nan)
