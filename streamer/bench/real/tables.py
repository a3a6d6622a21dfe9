"""What was measured on the real data, as tables of a terminal."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict

from rich.table import Table

from .injected import Injected
from .nca import BELOW_EV, MAGNIFICATION, MAGNIFICATION_TOLERANCE, REPEAT_PX, NcaResult

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
    """Agreement of repeats, and the magnification."""
    table = Table(
        title=f"repeats at one energy, without their common shift, px (wanted {REPEAT_PX})",
        title_justify="left",
    )
    for column in ("energy", "frames", "particles", "shift y", "shift x", "rms", "largest"):
        table.add_column(column, justify="right")
    for pair in result.repeats:
        cells = [f"{pair.energy:.0f}", f"{pair.frames[0]}, {pair.frames[1]}", f"{pair.particles}"]
        table.add_row(*cells, *map(_px, (*pair.shift, pair.rms, pair.largest)))
    yield table
    fit = asdict(result.similarity)
    table = Table(title=f"from {BELOW_EV:.0f} eV to the white line", title_justify="left")
    table.add_column("")
    table.add_column("value", justify="right")
    wanted = f"{MAGNIFICATION} ± {MAGNIFICATION_TOLERANCE}"
    table.add_row(f"magnification (wanted {wanted})", f"{fit['scale']:.5f}")
    table.add_row("  ± by the residuals", f"{fit['scale_sigma']:.5f}")
    table.add_row("  ± by bootstrap", f"{fit['scale_bootstrap']:.5f}")
    table.add_row(
        "rotation, mrad", f"{1e3 * fit['rotation']:.2f} ± {1e3 * fit['rotation_sigma']:.2f}"
    )
    table.add_row("shift y, x, px", ", ".join(map(_px, fit["shift"])))
    table.add_row("whole particles", f"{len(fit['residuals'])}")
    yield table


def _px(value: float) -> str:
    return f"{value:.3f}"
