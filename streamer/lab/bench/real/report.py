"""What was measured on the real data, as tables of a terminal."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray
from rich.table import Table

from .errors import motion_error
from .injected import DRIFT, PARTICLES, Injected
from .nca import MAGNIFICATION, MAGNIFICATION_TOLERANCE, NCA_BELOW_EV, REPEAT_PX, NcaResult
from .ruler import SimilarityTransform
from .stxm import ABOVE_EV, BELOW_EV

_ERRORS = ("median", "p95", "rms", "step", "bump")
_OURS = "#D55E00"
_PEERS = ("#0072B2", "#009E73", "#CC79A7", "#56B4E9")
_DRIFT = "#E69F00"
_ARROW = 20


def injected_tables(result: Injected) -> Iterator[Table]:
    """Errors of every method, and of every particle."""
    table = Table(
        title="error of the motion per frame, px; step, bump: mean above, at the edge minus below",
        title_justify="left",
    )
    columns = ("method", "frames", *_ERRORS, "at rest", "step at rest", "beyond rest")
    for number, column in enumerate(columns):
        table.add_column(column, justify="right" if number else "left")
    for method in result.errors:
        score = result.score(method)
        moved, rest = score["moved"], score["at_rest"]
        values = [getattr(moved, name) for name in _ERRORS]
        values += [rest.median, rest.step, score["beyond_rest"].median]
        table.add_row(method, str(moved.frames), *map(_px, values))
    for method, reason in result.left_out.items():
        table.add_row(method, reason.splitlines()[0])
    yield table
    table = Table(title="error per particle, px", title_justify="left")
    for column in ("particle", "area", "frames", *_ERRORS, "nees"):
        table.add_column(column, justify="right")
    for row in result.particle_scores().to_dict("records"):
        cells = [f"{row['particle']}", f"{row['area']:.0f}", f"{row['frames']}"]
        table.add_row(*cells, *(_px(row[name]) for name in _ERRORS), f"{row['nees']:.1f}")
    yield table


def nca_tables(result: NcaResult) -> Iterator[Table]:
    """Agreement of repeats, and the magnification; ours beside what the edges say."""
    table = Table(
        title=f"repeats at one energy, without their common shift, px (wanted {REPEAT_PX})",
        title_justify="left",
    )
    for column in ("energy", "frames", "particles", "shift y", "shift x"):
        table.add_column(column, justify="right")
    for column in ("median", "rms", "largest", "edges: rms", "edges: largest"):
        table.add_column(column, justify="right")
    for pair, edges in zip(result.ours.repeats, result.edges.repeats, strict=True):
        cells = [f"{pair.energy:.0f}", f"{pair.frames[0]}, {pair.frames[1]}", f"{pair.particles}"]
        values = (*pair.shift, pair.median, pair.rms, pair.largest, edges.rms, edges.largest)
        table.add_row(*cells, *map(_px, values))
    yield table
    table = Table(title=f"from {NCA_BELOW_EV:.0f} eV to the white line", title_justify="left")
    for column in ("", "operando", "edges"):
        table.add_column(column, justify="right" if column else "left")
    fits = (result.ours.similarity, result.edges.similarity)
    wanted = f"{MAGNIFICATION} ± {MAGNIFICATION_TOLERANCE}"
    table.add_row(f"magnification (wanted {wanted})", *(f"{fit.scale:.5f}" for fit in fits))
    table.add_row("  ± by the residuals", *(f"{fit.scale_sigma:.5f}" for fit in fits))
    table.add_row("  ± by bootstrap", *(f"{fit.scale_bootstrap:.5f}" for fit in fits))
    table.add_row("rotation, mrad", *(_mrad(fit) for fit in fits))
    table.add_row("shift y, x, px", *(", ".join(map(_px, fit.shift)) for fit in fits))
    table.add_row("whole particles", *(f"{len(fit.residuals)}" for fit in fits))
    yield table
    title = "whole particles: our motion since frame 0 against the edges', px (m: only a mask)"
    table = Table(title=title, title_justify="left")
    table.add_column("particle", justify="right")
    for frame in range(1, len(result.apart)):
        table.add_column(f"frame {frame}", justify="right")
    table.add_column("fitted", justify="right")
    for particle in np.flatnonzero(result.whole & np.isfinite(result.positions[0, :, 0])):
        fitted = result.fitted[:, particle]
        cells = [_px(v) for v in result.apart[:, particle]]
        cells = [f"{c}{'' if f or not c else ' m'}" for c, f in zip(cells, fitted, strict=True)]
        table.add_row(f"{result.ids[particle]}", *cells[1:], f"{int(fitted.sum())}")
    yield table


def _mrad(fit: SimilarityTransform) -> str:
    return f"{1e3 * fit.rotation:.2f} ± {1e3 * fit.rotation_sigma:.2f}"


def _px(value: float) -> str:
    return "" if np.isnan(value) else f"{value:.3f}"


# Pictures of what was measured on the real data.


def save_injected(result: Injected, path: Path, dpi: int = 90) -> None:
    """Images, injected and measured motion, and the error per frame; the edge is shaded."""
    figure = Figure(figsize=(15, 11), layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.add_gridspec(4, 3)
    stack = result.stack
    for column, region in enumerate(("below", "at", "above")):
        frame = int(np.flatnonzero(stack.region == region).mean())
        axes = figure.add_subplot(grid[0, column])
        low, high = np.percentile(stack.od[frame], (1, 98))
        axes.imshow(stack.od[frame], cmap="gray", vmin=low, vmax=high)
        axes.set_title(f"{region} the edge, {stack.energies[frame]:.1f} eV", fontsize=10)
        axes.set_xticks([])
        axes.set_yticks([])
    for row, axis in enumerate("yx"):
        axes = figure.add_subplot(grid[1 + row, :])
        _draw_motion(axes, result, row, axis)
    _draw_errors(figure.add_subplot(grid[3, :]), result)
    figure.savefig(path, dpi=dpi)


def _draw_motion(axes: Axes, result: Injected, column: int, name: str) -> None:
    energies, motion = result.stack.energies, result.stack.motion
    middle = motion[:, column] - motion[:, column].mean()
    axes.plot(energies, middle, color="black", lw=2.5, alpha=0.35, label="put in")
    for method, colour in ((PARTICLES, _OURS), (DRIFT, _DRIFT)):
        measured = middle + result.errors[method][:, column]
        axes.plot(energies, measured, ".-", ms=4, lw=0.7, color=colour, label=method)
    axes.set_ylabel(f"motion {name}, px")
    _shade(axes)
    axes.legend(fontsize=8, ncol=3, loc="upper left")


def _draw_errors(axes: Axes, result: Injected) -> None:
    region = result.stack.region
    others = [m for m in result.errors if not m.startswith("operando")]
    others.sort(key=lambda m: motion_error(result.errors[m], region).median)
    chosen = [(PARTICLES, _OURS), *zip(others, _PEERS, strict=False)]
    for method, colour in reversed(chosen):
        length = np.hypot(*result.errors[method].T)
        label = f"{method} (median {np.nanmedian(length):.3f} px)"
        axes.semilogy(result.stack.energies, length, ".-", ms=4, lw=0.8, color=colour, label=label)
    axes.axhline(0.2, color="black", lw=0.6, ls=":")
    axes.set_ylim(0.005, 10)
    axes.set_xlabel("energy, eV")
    axes.set_ylabel("error, px")
    _shade(axes)
    axes.legend(fontsize=8, ncol=2, loc="lower right")


def _shade(axes: Axes) -> None:
    axes.axvspan(BELOW_EV, ABOVE_EV, color="gray", alpha=0.15, lw=0)
    axes.margins(x=0.01)


def save_nca(result: NcaResult, path: Path, dpi: int = 80) -> None:
    """Every frame with its particles; arrows from the first frame of the energy, enlarged.

    Those of the processor are red, those of the edges blue.

    At the second energy, arrows show what is left of the motion from the first beyond the
    common shift: they point to the centre where the magnification falls.
    """
    figure = Figure(figsize=(16, 11), layout="constrained")
    FigureCanvasAgg(figure)
    for frame, axes in enumerate(figure.subplots(2, 3).ravel()[: len(result.images)]):
        _draw_frame(axes, result, frame)
    fit = result.ours.similarity
    figure.suptitle(
        f"magnification {fit.scale:.4f} ± {fit.scale_sigma:.4f} (bootstrap "
        f"{fit.scale_bootstrap:.4f}); repeats "
        f"{', '.join(f'{pair.rms:.2f}' for pair in result.ours.repeats)} px rms",
        fontsize=12,
    )
    figure.savefig(path, dpi=dpi)


def _draw_frame(axes: Axes, result: NcaResult, frame: int) -> None:
    image = result.images[frame]
    low, high = np.nanpercentile(image, (2, 99.5))
    axes.imshow(image, cmap="gray", vmin=low, vmax=high)
    reference = _reference(result, frame)
    if reference != frame:
        for positions, colour in ((result.edge_positions, _PEERS[0]), (result.positions, _OURS)):
            steps = (positions[frame] - positions[reference])[result.whole]
            _arrows(axes, positions[frame, result.whole], steps, colour)
    for name, (y, x), whole in zip(result.ids, result.positions[frame], result.whole, strict=True):
        if np.isfinite(y):
            axes.plot(x, y, "o" if whole else "x", ms=4, color=_OURS if whole else _PEERS[3])
            axes.text(x + 10, y - 10, str(name), color="yellow", fontsize=9)
    against = "" if reference == frame else f", arrows x{_ARROW} against frame {reference}"
    axes.set_title(f"frame {frame}, {result.energies[frame]:.0f} eV{against}", fontsize=10)
    axes.set_xticks([])
    axes.set_yticks([])


def _reference(result: NcaResult, frame: int) -> int:
    """First frame of the energy; of the other energy for the first frame above the edge."""
    same = np.flatnonzero(result.energies == result.energies[frame])
    if frame == same[0] and result.energies[frame] != NCA_BELOW_EV:
        return 0
    return int(same[0])


def _arrows(
    axes: Axes, places: NDArray[np.float64], steps: NDArray[np.float64], colour: str
) -> None:
    """Steps without their common part, from where there are any."""
    there = np.isfinite(steps[:, 0])
    if not there.any():
        return
    apart = steps[there] - np.median(steps[there], axis=0)
    for (y, x), (dy, dx) in zip(places[there], apart, strict=True):
        ends = (x + _ARROW * dx, y + _ARROW * dy)
        style = {"arrowstyle": "->", "color": colour, "lw": 1.5}
        axes.annotate("", xy=ends, xytext=(x, y), arrowprops=style, annotation_clip=False)
