"""One run as it is followed: its streams are looked up, their rows pushed, or asked for."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from tiled.client.context import Context
from tiled.client.stream import ArraySubscription

from ....callbacks.tiled.rows import ROWS
from ....callbacks.tiled.stream import preview_names
from ...io.tiled.reads import TiledReads
from . import messages
from .messages import StreamBoard, first_missing, place, unknown_words

_FAST_S, _SLOW_S = 0.4, 4.0
_STREAMS_S = 1.0
_PUSHED_LATELY_S = 3.0
_BLOCK = 20_000
_PREVIEWS = {name: key for key, name in preview_names(("aligned", "unaligned")).items()}
_OUTLINE = "outline"
logger = logging.getLogger(__name__)
_LARGEST_MESSAGE = 256 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Push:
    """News of an array: rows from `start` on, or a preview (`start` None)."""

    run: str
    stream: str
    array: str
    start: int | None
    data: NDArray[Any]


class RunFeed:
    """Keeps what is known of one run up to date; used from the reader's thread only.

    Parameters
    ----------
    key : of the run. metadata : its ``start`` and ``stop``.
    send : hands a message to those who look at the run: ``send(payload, droppable)``.
    arrive : takes pushes, in other threads.

    Attributes
    ----------
    boards : what is known of each stream.
    """

    def __init__(
        self,
        key: str,
        metadata: Mapping[str, Any],
        send: Callable[[str | bytes, bool], None],
        arrive: Callable[[Push], None],
    ) -> None:
        self.key = key
        self.metadata = metadata
        self.boards: dict[str, StreamBoard] = {}
        self._send = send
        self._arrive = arrive
        self._pushes: dict[tuple[str, str], Pushed] = {}
        self._units: dict[str, dict[str, str]] = {}
        self._names_due = 0.0
        self._due: dict[str, float] = {}
        self._looked: dict[str, float] = {}
        self._spacing: dict[str, float] = {}
        self._pushed_at = -np.inf
        self._complete = False

    @property
    def live(self) -> bool:
        """Return whether the run has not stopped, as far as is known."""
        return not self.metadata.get("stop")

    def pushed(self, now: float) -> bool:
        """Return whether rows have been pushed lately."""
        return now - self._pushed_at < _PUSHED_LATELY_S

    def due(self, now: float) -> float:
        """In how many seconds `refresh` has something to do."""
        if self._complete:
            return 3600.0
        return max(0.0, min([self._names_due, *self._due.values()]) - now)

    def snapshot(self) -> list[str | bytes]:
        """Everything known, as messages for one who has just come."""
        found: list[str | bytes] = [messages.run(self.metadata)]
        for board in self.boards.values():
            found.append(messages.stream(self.key, board))
            found += [
                messages.rows(self.key, board, i, i + _BLOCK) for i in range(0, board.count, _BLOCK)
            ]
            if len(board.outlines):
                found.append(messages.outlines(self.key, board, 0))
        return found

    def take(self, arrival: Push, now: float) -> None:
        """Take what was pushed."""
        self._pushed_at = now
        board = self.boards.get(arrival.stream)
        if arrival.start is None:
            image = _PREVIEWS[arrival.array]
            self._send(messages.preview(self.key, image, arrival.data.astype(np.uint8)), True)
        elif board is not None and arrival.data.ndim == 2:
            if arrival.start > board.count or unknown_words(board, arrival.data):
                self._due[arrival.stream] = now  # something was missed: ask for it
            else:
                self._add(board, arrival.start, arrival.data)
                # rows need not be asked for, but what else the stream has by now
                self._rest(arrival.stream, self._looked.get(arrival.stream, now), _SLOW_S)

    def end(self, metadata: Mapping[str, Any]) -> None:
        """Take the metadata of the stopped run; what is left is read with the next refresh."""
        self.metadata = metadata
        self._send(messages.stop(metadata), False)
        self._names_due = 0.0
        self._due = dict.fromkeys(self._due, 0.0)

    def refresh(self, reads: TiledReads, now: float) -> None:
        """Ask Tiled for what is due.

        Raises
        ------
        httpx.HTTPError
            Tiled does not answer; what is missing stays due.
        """
        if self._complete:
            return
        finished = not self.live
        if now >= self._names_due:
            self._units = reads.streams(self.key)
            self._names_due = now + (_SLOW_S if self.pushed(now) else _STREAMS_S)
        for name in self._units:
            if now >= self._due.get(name, 0.0):
                self._look(reads, name, now)
        if finished:
            self._complete = True
            self.close()

    def close(self) -> None:
        """End the pushes."""
        for pushed in self._pushes.values():
            pushed.close()
        self._pushes.clear()

    def _look(self, reads: TiledReads, name: str, now: float) -> None:
        self._looked[name] = now
        arrays = reads.arrays(self.key, name)
        known = self.boards.get(name)
        if ROWS not in arrays:
            self._due[name] = now + _FAST_S
            return
        board = self._described(name, arrays)
        fresh = self.live and self._subscribe(reads, name, arrays)
        length, width = arrays[ROWS]["shape"]
        start = first_missing(board)
        news = length > start or known is None
        while start < length:
            stop = min(length, start + _BLOCK)
            board = self._add(board, start, reads.rows(self.key, name, start, stop, width))
            start = stop
        self._read_outlines(reads, board, arrays)
        spacing = _FAST_S if news or fresh else min(2 * self._spacing.get(name, _FAST_S), _SLOW_S)
        # what came while a subscription was on its way is pushed by nobody
        self._rest(name, now, _SLOW_S if self.pushed(now) and not fresh else spacing)

    def _described(self, name: str, arrays: Mapping[str, Mapping[str, Any]]) -> StreamBoard:
        """Bring the description of a stream up to date, and tell if it changed."""
        meaning = {**arrays[ROWS]["metadata"], "units": self._units[name]}
        images = {
            key: cast("tuple[int, ...]", tuple(array["shape"][1:]))
            for key, array in arrays.items()
            if key not in _PREVIEWS and len(array["shape"]) == 3
        }
        known = self.boards.get(name)
        if known is None:
            rows = np.empty((0, len(meaning["columns"])))
            board = StreamBoard(name=name, meaning=meaning, arrays=images, rows=rows)
        else:
            board = replace(known, meaning=meaning, arrays=images)
        if known is None or (known.meaning, known.arrays) != (meaning, images):
            self._send(messages.stream(self.key, board), False)
        self.boards[name] = board
        return board

    def _subscribe(
        self, reads: TiledReads, name: str, arrays: Mapping[str, Mapping[str, Any]]
    ) -> bool:
        """Subscribe to what there is; return whether any of it is new."""
        new = [k for k in (ROWS, *_PREVIEWS) if k in arrays and (name, k) not in self._pushes]
        for key in new:
            path, deliver = reads.node(self.key, name, key), self._deliver(name, key)
            self._pushes[name, key] = Pushed(reads.context, path, deliver)
        return bool(new)

    def _deliver(self, name: str, key: str) -> Callable[[int | None, NDArray[Any]], None]:
        def deliver(start: int | None, data: NDArray[Any]) -> None:
            first = (start or 0) if key == ROWS else None
            self._arrive(Push(run=self.key, stream=name, array=key, start=first, data=data))

        return deliver

    def _read_outlines(
        self, reads: TiledReads, board: StreamBoard, arrays: Mapping[str, Mapping[str, Any]]
    ) -> None:
        """Read outlines that are new; pages carry the last ones along with their particles."""
        length, width = arrays[_OUTLINE]["shape"] if _OUTLINE in arrays else (0, 0)
        start = len(board.outlines)
        if length <= start:
            return
        block = reads.outlines(self.key, board.name, start, length, width)
        known = np.concatenate([board.outlines.reshape(start, width), block])
        board = replace(board, outlines=known)
        self.boards[board.name] = board
        self._send(messages.outlines(self.key, board, start), False)

    def _add(self, board: StreamBoard, start: int, block: NDArray[np.float64]) -> StreamBoard:
        board = place(board, start, block)
        self.boards[board.name] = board
        self._send(messages.rows(self.key, board, start, start + len(block)), False)
        return board

    def _rest(self, name: str, now: float, spacing: float) -> None:
        self._spacing[name] = spacing
        self._due[name] = now + spacing


# An array of a live run, as Tiled's websocket pushes it; where it does not, nobody is told.


class Pushed:
    """Subscribes to an array and hands on what is pushed, until closed.

    Parameters
    ----------
    context : of Tiled's client. path : keys of the array.
    deliver : is given (index of the first row or None for the whole array, data), in another
        thread.
    """

    def __init__(
        self,
        context: Context,
        path: list[str],
        deliver: Callable[[int | None, NDArray[Any]], None],
    ) -> None:
        self._deliver = deliver
        self._subscription = ArraySubscription(context, path)
        # Tiled holds callbacks by weak reference: this object keeps the bound method alive
        self._subscription.new_data.add_callback(self._take)
        name = f"dashboard {'/'.join(path[-2:])}"
        # not start_in_thread: it waits for ever where the server refuses websockets
        threading.Thread(target=self._run, name=name, daemon=True).start()

    def close(self) -> None:
        """End the subscription; does not wait for its thread."""
        threading.Thread(
            target=self._subscription.disconnect, kwargs={"wait": False}, daemon=True
        ).start()

    def _run(self) -> None:
        try:
            self._subscription.start(max_size=_LARGEST_MESSAGE)
        except Exception as error:  # noqa: BLE001 - of many kinds; polling goes on without it
            logger.info("no pushes for %s (%s): polling", self._subscription, type(error).__name__)

    def _take(self, update: Any) -> None:
        try:
            offset = getattr(update, "offset", None)
            self._deliver(None if offset is None else int(offset[0]), np.asarray(update.data()))
        except Exception:  # Tiled's thread pool would swallow it
            logger.exception("a push of %s cannot be used", self._subscription)
