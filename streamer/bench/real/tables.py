"""What was measured on the real data, as tables of a terminal."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from rich.table import Table

from .injected import Injected
from .nca import MAGNIFICATION, MAGNIFICATION_TOLERANCE, NCA_BELOW_EV, REPEAT_PX, NcaResult
from .similarity import Similarity

_ERRORS = ("median", "p95", "rms", "step", "bump")


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


def _mrad(fit: Similarity) -> str:
    return f"{1e3 * fit.rotation:.2f} ± {1e3 * fit.rotation_sigma:.2f}"


def _px(value: float) -> str:
    return "" if np.isnan(value) else f"{value:.3f}"
