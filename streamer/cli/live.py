"""A running service on the terminal."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from ...callbacks.summary import ResultSummary, RunSummary
from ..service import Service
from ..sources import Source
from .show import ledger_text, print_run, progress_text
from .terminal import console, for_machines, say, status_line

logger = logging.getLogger("operando.cli")

_PATIENCE_S = 3.0


class Connection:
    """Tells once when a live source listens, and once if that takes long.

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
        elif not self.ready and not self._warned and self._waited > _PATIENCE_S:
            self._warned = True
            say(
                f"no proxy answers at {self._address} yet (is bluesky-0MQ-proxy running there?); "
                "trying on",
                "yellow",
            )
        return self.ready

    @property
    def _waited(self) -> float:
        return time.monotonic() - self._since


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
