"""A running service on the terminal."""

from __future__ import annotations

import threading

from rich.console import Console

from ...callbacks.summary import ResultSummary
from ..service import Service
from ..sources import Source
from .show import print_run, progress_text


def follow(
    service: Service,
    source: Source,
    summary: ResultSummary,
    stop: threading.Event,
    console: Console,
) -> None:
    """Run the service; show a status line on a terminal, and each run when it has ended."""
    shown: set[str] = set()
    announced = False

    with console.status("connecting") as status:

        def show() -> None:
            nonlocal announced
            if not announced and source.wait_ready(0):
                console.print("ready: subscribed, waiting for runs", highlight=False)
                announced = True
            status.update(progress_text(summary) if announced else "connecting")
            for uid, run in summary.runs.items():
                if run.stop is not None and uid not in shown:
                    shown.add(uid)
                    print_run(console, run)

        service.run(stop, show)
        show()
