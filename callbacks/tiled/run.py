"""One result run on its way to Tiled: a container, in it one container per stream."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self, cast

from tiled.client.container import Container
from tiled.structures.core import Spec
from tiled.utils import safe_json_dump

from ...streamer.io.tiled.connection import TiledConnection
from ...streamer.io.tiled.settings import TiledSettings
from ..sinks.protocols import DOCUMENT_BYTES
from .images import FrameRoute
from .stream import StreamWriter

RUN_SPECS = (Spec("BlueskyRun", "3.0"), Spec("OperandoRun", "1.0"))
_STOP_IDENTITY = ("exit_status", "reason", "num_events", "ledger")


class RunWriter:
    """One result run.

    Parameters
    ----------
    start : the start document.
    settings : settings of the sink.
    route : how images reach the server, shared by the whole sink.

    Attributes
    ----------
    settled : number of a document such that nothing of the run that came up to it is pending; also
        raised by the sink whenever nothing of the run is pending at all.
    """

    def __init__(
        self, start: Mapping[str, Any], settings: TiledSettings, route: FrameRoute
    ) -> None:
        self.start = start
        self.uid: str = start["uid"]
        self.stop: Mapping[str, Any] | None = None
        self.settled = 0
        self.streams: dict[str, StreamWriter] = {}
        self._settings = settings
        self._route = route
        folder = settings.frames_dir
        self._folder = None if folder is None else Path(folder).resolve() / self.uid
        self._node: Container | None = None
        self._turn = RoundRobin()
        self._released = False
        self._steps: list[Callable[[TiledConnection, Container], None]] = []

    def open_stream(self, descriptor: Mapping[str, Any]) -> StreamWriter:
        """Return the stream of a descriptor; one with a known name continues that stream."""
        name = descriptor["name"]
        if name not in self.streams:
            self.streams[name] = StreamWriter(descriptor, self._settings, self._folder, self._route)
        return self.streams[name]

    def end(self, stop: Mapping[str, Any] | None) -> None:
        """Take the stop document; None takes it back, for the run goes on."""
        self.stop = stop
        self._steps = [] if stop is None else [self._tables, self._stop, self._close_streams]

    @property
    def pending(self) -> int:
        """Count rows, images and closing steps still to do."""
        opened = 0 if self._node is not None or self._released else 1
        streams = tuple(self.streams.values())
        return sum(s.pending for s in streams) + len(self._steps) + opened

    @property
    def pending_bytes(self) -> int:
        """Return the bytes of images that are only in memory."""
        return sum(f.pending_bytes for s in self.streams.values() for f in s.frames)

    @property
    def held_bytes(self) -> int:
        """Return the bytes of images and rows that are only in memory."""
        rows = sum(stream.rows.pending for stream in self.streams.values())
        return self.pending_bytes + DOCUMENT_BYTES * rows

    @property
    def done(self) -> bool:
        """Tell whether the run has ended and all of it is on the server."""
        return self.stop is not None and not self.pending

    def write_files(self) -> None:
        """Write waiting images to files; needs no server.

        Raises
        ------
        SinkError, OSError
            A file cannot be written; its images are kept.
        """
        for stream in self.streams.values():
            for series in stream.frames:
                series.write_file()

    def flush(self, connection: TiledConnection, now: float, received: int) -> None:
        """Send what is waiting, and close the run if it has ended.

        While it goes on, arrays that are not prompt take turns, one each time.

        Parameters
        ----------
        now : monotonic clock, s. received : number of the newest document of the sink.

        Raises
        ------
        httpx.HTTPError, SinkError
            It did not all arrive; the rest is kept for the next call.
        """
        node, ended = self._open(connection), self.stop is not None
        for name, stream in self.streams.items():
            only = None if ended else prompt_parts(self._settings.prompt, name)
            stream.flush(connection, node, now, final=ended, only=only)
        if not ended:
            self._others(connection, node, now, received)
        while self._steps:
            self._steps[0](connection, node)
            self._steps.pop(0)

    def _others(
        self, connection: TiledConnection, node: Container, now: float, received: int
    ) -> None:
        """Send one array that is not prompt.

        When all have had their turn, all that had come before it is with the server, though more
        may wait by now.
        """
        turn = self._turn
        if turn.over and now >= turn.due:
            waiting = {name: stream.waiting for name, stream in self.streams.items()}
            turn = RoundRobin.begin(waiting, self._settings, now, received)
        if not turn.over:
            (name, part), turn = turn.next()
            self.streams[name].flush(connection, node, now, final=False, only=(part,))
            turn = turn.sent(left=part in self.streams[name].waiting)
        if turn.over and turn.whole:
            self.settled = max(self.settled, turn.received)
        self._turn = turn

    def close_files(self) -> None:
        """Close the HDF5 files of the run."""
        for stream in self.streams.values():
            stream.close_files()

    def forget_nodes(self) -> None:
        """Look all nodes up again: the server may have lost them."""
        self._node = None
        for stream in self.streams.values():
            stream.forget_nodes()

    def release(self) -> None:
        """Close files and let go of nodes: nothing more is sent, and what was sent stays."""
        self._released = self._node is not None
        self.close_files()
        self.forget_nodes()

    def _open(self, connection: TiledConnection) -> Container:
        if self._node is None:
            root = connection.root()
            node = connection.child(root, self.uid)
            if node is None:
                node = root.create_container(
                    self.uid, metadata={"start": dict(self.start)}, specs=list(RUN_SPECS)
                )
            self._node = cast("Container", node)
        return self._node

    # -- closing, each step may be repeated --------------------------------------------------

    def _tables(self, connection: TiledConnection, node: Container) -> None:
        for stream in self.streams.values():
            stream.write_table(connection, node)

    def _stop(self, _: TiledConnection, node: Container) -> None:
        assert self.stop is not None
        held = cast("Mapping[str, Any] | None", node.metadata.get("stop"))
        if held is None or not self._keeps(held, self.stop):
            node.update_metadata({"stop": dict(self.stop)}, drop_revision=True)

    def _keeps(self, held: Mapping[str, Any], stop: Mapping[str, Any]) -> bool:
        """Tell whether the stop that the server holds is to stay.

        It stays if the new one says the same, and a success is not turned into a failure by a
        later repeat that was broken off.
        """
        if held.get("exit_status") == "success" != stop.get("exit_status"):
            return True
        mine = json.loads(safe_json_dump(dict(stop)))
        return all(held.get(key) == mine.get(key) for key in _STOP_IDENTITY)

    def _close_streams(self, connection: TiledConnection, node: Container) -> None:
        for stream in self.streams.values():
            for child in stream.nodes(connection, node):
                child.close_stream()
        node.close_stream()
        self.close_files()


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundRobin:
    """Round-robin of arrays that need not be sent in every round: one a round.

    Attributes
    ----------
    parts : streams and arrays that are still to come.
    due : when the next turn may begin, s of the monotonic clock.
    received : documents that had come when it began.
    whole : whether all that waited then has been sent so far.
    """

    parts: tuple[tuple[str, str], ...] = ()
    due: float = float("-inf")
    received: int = 0
    whole: bool = False

    @classmethod
    def begin(
        cls,
        waiting: Mapping[str, Mapping[str, int]],
        settings: TiledSettings,
        now: float,
        received: int,
    ) -> Self:
        """Begin a turn.

        Parameters
        ----------
        waiting : rows and images that wait, by stream and array, after the prompt ones were sent.
        """
        parts = [(stream, part) for stream, held in waiting.items() for part in held]
        prompt = [p for p in parts if "/".join(p) in settings.prompt]
        return cls(
            parts=tuple(p for p in parts if p not in prompt),
            due=now + settings.others_s,
            received=received,
            whole=not prompt,  # what still waits of those is held back
        )

    @property
    def over(self) -> bool:
        """Tell whether all have had their turn."""
        return not self.parts

    def next(self) -> tuple[tuple[str, str], Self]:
        """Return the next stream and array, and those that come after."""
        return self.parts[0], replace(self, parts=self.parts[1:])

    def sent(self, *, left: bool) -> Self:
        """Take note that an array was sent; `left`: something of it was held back."""
        return replace(self, whole=self.whole and not left)


def prompt_parts(prompt: tuple[str, ...], stream: str) -> tuple[str, ...]:
    """Return the arrays of a stream that are sent in every round."""
    return tuple(p.partition("/")[2] for p in prompt if p.partition("/")[0] == stream)
