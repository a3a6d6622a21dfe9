"""A live view kept by asking Tiled again and again."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from ...streamer.core.view import LiveView, Phase, init, start, stop, take_rows
from .results import LiveResults

if TYPE_CHECKING:
    import pandas as pd
    from tiled.client.container import Container


_LOOK_S = 5.0


class TiledFollower:
    """Follows the result run that began last; only what is new is asked of the server.

    Parameters
    ----------
    client : of Tiled: a container of result runs.
    clock : monotonic clock, s.
    """

    def __init__(self, client: Container, clock: Callable[[], float] = time.monotonic) -> None:
        self._client = client
        self._clock = clock
        self._results: LiveResults | None = None
        self._seen: dict[str, int] = {}
        self._looked = float("-inf")
        self.view: LiveView = init()

    def poll(self) -> LiveView:
        """Ask what is new; return the view.

        Raises
        ------
        httpx.HTTPError
            The server failed; asking again goes on where this ended.
        """
        self._look()
        results = self._results
        if results is None or self.view.phase is Phase.ENDED:
            return self.view
        ended = results.stop  # before the rows: these are then all
        for stream in ("particles", "frames", "advice"):
            self._take(results, stream, whole=ended is not None)
        if ended is not None:
            self.view = stop(self.view, ended)
        return self.view

    def _look(self) -> None:
        """Look for a newer run, now and then."""
        if self._clock() - self._looked < _LOOK_S:
            return
        try:
            newest = LiveResults(self._client)
        except LookupError:
            return
        finally:
            self._looked = self._clock()
        if self._results is None or newest.uid != self._results.uid:
            self._results, self._seen = newest, {}
            self.view = start(newest.start)

    def _take(self, results: LiveResults, stream: str, *, whole: bool) -> None:
        seen = self._seen.get(stream, 0)
        table = results.tail(stream, seen)
        if not whole:
            table = _without_gap(table, seen)
        if table.empty:
            return
        self._seen[stream] = seen + len(table)
        if stream == "particles":  # only the newest is shown, and that before while its frame waits
            table = table.sort_values(["frame", "revision"], kind="stable")
            table = table.groupby("particle").tail(2)
        self.view = take_rows(self.view, stream, _records(table))


def _without_gap(table: pd.DataFrame, seen: int) -> pd.DataFrame:
    """Rows up to the first that is missing: the server writes them one chunk after another."""
    if table.empty:
        return table
    ordered = table.sort_values("seq_num")
    wanted = np.arange(seen + 1, seen + 1 + len(ordered))
    return ordered.loc[ordered["seq_num"].to_numpy() == wanted]


def _records(table: pd.DataFrame) -> list[Mapping[str, Any]]:
    return cast("list[Mapping[str, Any]]", table.to_dict("records"))
