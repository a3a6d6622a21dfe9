"""Runs as tables, and a progress line while they grow."""

from __future__ import annotations

import numpy as np
from rich.console import Console
from rich.table import Table

from ...callbacks.summary import ResultSummary, RunSummary


def progress_text(summary: ResultSummary) -> str:
    """One line about the newest run."""
    run = summary.newest
    if run is None:
        return "waiting for images"
    parts = [f"run {run.raw[:8]}", f"{run.frames} frames"]
    if np.isfinite(run.energy):
        parts.append(f"{run.energy:.2f} eV")
    live = [p for p in run.particles.values() if p.state in ("tracked", "tentative")]
    parts.append(f"{len(live)} particles")
    if np.isfinite(run.drift[0]):
        parts.append(f"drift ({run.drift[0]:+.1f}, {run.drift[1]:+.1f}) px")
    return " · ".join(parts)


def print_run(console: Console, run: RunSummary) -> None:
    """Print what came out of a run."""
    table = run_table(run)
    if table.row_count:
        console.print(table)
    else:
        console.print(f"{table.title}; no particles", highlight=False, soft_wrap=True)
    console.print(ledger_text(run), highlight=False, soft_wrap=True)


def run_table(run: RunSummary) -> Table:
    """Particles of a run, largest first."""
    sample = f" of {run.sample}" if run.sample else ""
    title = f"run {run.raw[:8]}{sample}: {run.frames} frames, result {run.uid[:8]}"
    table = Table(title=title, title_justify="left")
    for column in ("particle", "frames", "state", "diameter", "moved y", "moved x", "path"):
        table.add_column(column, justify="left" if column == "state" else "right")
    table.caption = "px; displacement from where each particle was first seen"
    order = sorted(run.particles.items(), key=lambda item: -np.nan_to_num(item[1].area))
    for number, particle in order:
        if len(particle.frames) < 2 and run.frames > 1:
            continue
        table.add_row(
            str(number),
            str(len(particle.frames)),
            particle.state,
            f"{np.sqrt(particle.area * 4 / np.pi):.0f}",
            f"{particle.displacement_y:+.2f}",
            f"{particle.displacement_x:+.2f}",
            f"{particle.path_length:.1f}",
        )
    return table


def ledger_text(run: RunSummary) -> str:
    """The ledger of a finished run in one line."""
    if run.stop is None:
        return "the run is still open"
    ledger = run.stop["ledger"]
    lost = {**ledger["skipped"], **ledger["dropped"]}
    reasons = "".join(f", {n} {reason}" for reason, n in sorted(lost.items()))
    books = "balanced" if ledger["balanced"] else "NOT BALANCED"
    return (
        f"ledger: {ledger['received']} received = {ledger['aligned']} aligned + "
        f"{ledger['degraded']} degraded{reasons} ({books}); {ledger['revised']} revised, "
        f"{ledger['flats']} flats, {ledger['darks']} darks"
    )
