"""One result run on its way to Tiled: a container, in it one container per stream."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, cast

from tiled.client.base import BaseClient
from tiled.client.container import Container
from tiled.client.metadata_update import DELETE_KEY
from tiled.structures.core import Spec
from tiled.utils import safe_json_dump

from ..streamer.tiled_settings import TiledSettings
from .sink_counts import DOCUMENT_BYTES
from .tiled_columns import array_keys, scalar_columns
from .tiled_frames import FrameRoute, FrameSeries
from .tiled_http import TiledConnection
from .tiled_preview import PREVIEW, Preview
from .tiled_rows import ROWS, RowSeries
from .tiled_tables import TABLE, table_of, write_table

RUN_SPECS = (Spec("BlueskyRun", "3.0"), Spec("OperandoRun", "1.0"))
STREAM_SPECS = (
    Spec("OperandoStream", "1.0"),
    Spec("BlueskyEventStream", "3.0"),
    Spec("composite", None),
)
"""Clients take the first spec they know: ours, then bluesky's, then Tiled's own."""

EXTERNAL = "STREAM:"
_STOP_IDENTITY = ("exit_status", "reason", "num_events", "ledger")


class StreamWriter:
    """One stream of a run: rows of its scalars, an array per array key, perhaps a preview.

    Parameters
    ----------
    descriptor : the event descriptor that opened the stream.
    settings : settings of the sink.
    folder : folder for the HDF5 files of the run, None if there is none.
    route : how images reach the server, shared by the whole sink.
    """

    def __init__(
        self,
        descriptor: Mapping[str, Any],
        settings: TiledSettings,
        folder: Path | None,
        route: FrameRoute,
    ) -> None:
        keys = descriptor["data_keys"]
        self.name: str = descriptor["name"]
        self.rows = RowSeries(scalar_columns(keys), settings)
        self.frames = [
            FrameSeries(
                key,
                None if folder is None else folder / f"{self.name}-{key.name}.h5",
                settings,
                route,
            )
            for key in array_keys(keys)
        ]
        self._descriptor = descriptor
        self._route = route
        names = [series.key.name for series in self.frames if len(series.key.shape) == 2]
        self._preview_key = settings.preview_key if settings.preview_key in names else None
        self._preview = Preview(settings.preview_px)
        self._node: Container | None = None

    def add(self, event: Mapping[str, Any], now: float) -> None:
        """Take one event; nothing is sent yet."""
        seq_num, data = int(event["seq_num"]), event["data"]
        self.rows.add(seq_num, float(event["time"]), data, now)
        for series in self.frames:
            series.add(seq_num - 1, data.get(series.key.name))
        if self._preview_key is not None and data.get(self._preview_key) is not None:
            self._preview.add(data[self._preview_key])

    @property
    def changed(self) -> bool:
        """Whether the server holds something new through us."""
        return self.rows.changed or any(series.changed for series in self.frames)

    @property
    def pending(self) -> int:
        """Rows and images of which the server does not know yet."""
        return self.rows.pending + sum(series.pending for series in self.frames)

    def flush(
        self, connection: TiledConnection, run: Container, now: float, *, final: bool
    ) -> None:
        """Send what is waiting.

        Raises
        ------
        httpx.HTTPError, SinkError
            It did not all arrive; the rest is kept for the next call.
        """
        if not (self.pending or final):
            return
        node = self._open(connection, run)
        for series in self.frames:
            series.flush(connection, node, final=final)
        self.rows.flush(connection, node, now, final=final)
        if self.changed:
            self._preview.flush(connection, node, final=final)

    def write_table(self, connection: TiledConnection, run: Container) -> None:
        """Write the table of the finished stream, unless it is there and nothing changed."""
        node = self._open(connection, run)
        self._correct_metadata(node)
        if not self.changed and connection.child(node, TABLE) is not None:
            return
        rows, metadata = self.rows.read_back(connection, node)
        if len(rows):
            write_table(connection, node, table_of(rows, metadata))

    def nodes(self, connection: TiledConnection, run: Container) -> Iterator[BaseClient]:
        """Nodes of the stream that are on the server, the stream itself last."""
        node = self._open(connection, run)
        for key in (*(series.key.name for series in self.frames), ROWS, PREVIEW):
            child = connection.child(node, key)
            if child is not None:
                yield child
        yield node

    def close_files(self) -> None:
        """Close the HDF5 files of the stream."""
        for series in self.frames:
            series.close_file()

    def forget_nodes(self) -> None:
        """Look all nodes up again: the server may have lost them."""
        self._node = None
        self.rows.forget_node()
        self._preview.forget_node()
        for series in self.frames:
            series.forget_node()

    def _open(self, connection: TiledConnection, run: Container) -> Container:
        if self._node is None:
            node = connection.child(run, self.name)
            if node is None:
                node = run.create_container(
                    self.name, metadata=self._metadata(), specs=list(STREAM_SPECS)
                )
            self._node = cast("Container", node)
        return self._node

    def _metadata(self) -> dict[str, Any]:
        """Metadata of the stream; arrays are marked external, for that is what files are."""
        wanted = ("uid", "time", "hints", "configuration")
        rest = {key: self._descriptor[key] for key in wanted if key in self._descriptor}
        return {"configuration": {}, **rest, "data_keys": self._data_keys()}

    def _data_keys(self) -> dict[str, dict[str, Any]]:
        external = {} if self._route.route == "http" else {"external": EXTERNAL}
        arrays = {series.key.name for series in self.frames}
        return {
            name: {**key, **external} if name in arrays else dict(key)
            for name, key in self._descriptor["data_keys"].items()
        }

    def _correct_metadata(self, node: Container) -> None:
        """Take back the mark of files if the server turned out not to read them."""
        held = cast("dict[str, dict[str, Any]]", node.metadata["data_keys"])
        marked = [name for name, key in held.items() if "external" in key]
        if self._route.route == "http" and marked:
            undo = {name: {"external": DELETE_KEY} for name in marked}
            node.update_metadata({"data_keys": undo}, drop_revision=True)


class RunWriter:
    """One result run.

    Parameters
    ----------
    start : the start document.
    settings : settings of the sink.
    route : how images reach the server, shared by the whole sink.

    Attributes
    ----------
    settled : number of the newest document at a time when nothing of the run was pending; kept
        by the sink.
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
        self._others_due = float("-inf")
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
        """Rows, images and closing steps still to do."""
        opened = 0 if self._node is not None or self._released else 1
        streams = tuple(self.streams.values())
        return sum(s.pending for s in streams) + len(self._steps) + opened

    @property
    def pending_bytes(self) -> int:
        """Bytes of images that are only in memory."""
        return sum(f.pending_bytes for s in self.streams.values() for f in s.frames)

    @property
    def held_bytes(self) -> int:
        """Bytes of images and rows that are only in memory."""
        rows = sum(stream.rows.pending for stream in self.streams.values())
        return self.pending_bytes + DOCUMENT_BYTES * rows

    @property
    def done(self) -> bool:
        """Whether the run has ended and all of it is on the server."""
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

    def flush(self, connection: TiledConnection, now: float) -> None:
        """Send what is waiting, and close the run if it has ended.

        Raises
        ------
        httpx.HTTPError, SinkError
            It did not all arrive; the rest is kept for the next call.
        """
        node, ended = self._open(connection), self.stop is not None
        whole = ended or now >= self._others_due
        for name, stream in self.streams.items():
            if whole or name in self._settings.prompt:
                stream.flush(connection, node, now, final=ended)
        if whole:
            self._others_due = now + self._settings.others_s
        while self._steps:
            self._steps[0](connection, node)
            self._steps.pop(0)

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
        """Whether the stop that the server holds is to stay.

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
