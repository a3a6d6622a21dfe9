"""A running service on the terminal."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

import numpy as np
from rich.console import Console
from rich.table import Table

from ...callbacks.stock import ResultSummary, RunSummary
from ..io.sources import Source
from ..service.service import Service
from .terminal import console, for_machines, say, status_line

logger = logging.getLogger("operando.cli")
_PATIENCE_S = 3.0  # by eye: a proxy on this network answers within it


class Connection:
    """Connection of a live source, of which is told once when it listens, or if that takes long.

    Parameters
    ----------
    source : the source.
    address : of the proxy, as the user gave it.
    ready : what to say when it listens.
    """

    def __init__(
        self, source: Source, address: str, ready: str = "subscribed, waiting for runs"
    ) -> None:
        self._source = source
        self._address = address
        self._said = ready
        self._since = time.monotonic()
        self._warned = False
        self.ready = False

    def check(self) -> bool:
        """Look at the source, tell what is new; return whether it has been ready."""
        if not self.ready and self._source.wait_ready(0):
            self.ready = True
            say(f"ready: {self._said}")
        elif not (self.ready or self._warned) and time.monotonic() > self._since + _PATIENCE_S:
            self._warned = True
            say(
                f"no proxy answers at {self._address} yet (is bluesky-0MQ-proxy running there?); "
                "trying on",
                "yellow",
            )
        return self.ready


def follow(
    service: Service,
    summary: ResultSummary,
    stop: threading.Event,
    connection: Connection | None = None,
    beat: Callable[[], object] = lambda: None,
) -> None:
    """Run the service; show a status line on a terminal, and each run when it has ended.

    Parameters
    ----------
    connection : of a live source; None for a recording.
    beat : is called after each step, as a sign of life.
    """
    shown: dict[str, RunSummary] = {}

    with status_line("starting") as update:

        def show() -> None:
            beat()
            connected = connection is None or connection.check()
            update(progress_text(summary) if connected else "connecting")
            show_ended(summary, shown)

        show()
        service.run(stop, show)
        show()


def show_ended(summary: ResultSummary, shown: dict[str, RunSummary]) -> None:
    """Print runs that have ended and are not in `shown`, where they are put then."""
    for uid, run in summary.runs.items():
        if run.stop is not None and shown.get(uid) is not run:
            shown[uid] = run
            if for_machines():
                logger.info("run has ended: %s", ledger_text(run), extra={"run": run.raw})
            else:
                print_run(console(), run)


def progress_text(summary: ResultSummary) -> str:
    """Return one line about the newest run."""
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
    """Return the particles of a run, largest first."""
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
    """Return the ledger of a finished run in one line."""
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
