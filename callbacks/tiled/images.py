"""Images of a stream on their way to Tiled, one array per data key.

Where the server can read our files, images go to an HDF5 file and the server is only told how
long it has become; else they travel over HTTP in batches. Either way image ``i`` belongs to the
event with ``seq_num == i + 1``.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
from numpy.typing import NDArray
from tiled.client.array import ArrayClient
from tiled.client.container import Container
from tiled.structures.array import ArrayStructure
from tiled.structures.core import StructureFamily
from tiled.structures.data_source import Asset, DataSource, Management

from ...streamer.errors import SinkError
from ...streamer.io.tiled.connection import (
    TiledConnection,
    new_array,
    patch_array,
    put_data_source,
    readable,
    structure_of,
)
from ...streamer.io.tiled.settings import TiledSettings
from .frame_file import DATASET, FrameFile
from .rows import ArrayKey, ranges

_log = logging.getLogger(__name__)
HDF5 = "application/x-hdf5"
CHUNK_BYTES = 16 << 20
Route = Literal["undecided", "hdf5", "http"]


@dataclass(slots=True)
class FrameRoute:
    """Route of images to the server: decided once for a sink, by trying."""

    route: Route

    @classmethod
    def of(cls, settings: TiledSettings) -> FrameRoute:
        """Begin with what the settings say; without a folder there is only HTTP."""
        if settings.frames_dir is None:
            return cls("http")
        return cls("undecided" if settings.frames == "auto" else settings.frames)


class FrameSeries:
    """Images of one key of one stream.

    Parameters
    ----------
    key : name, shape and dtype.
    path : HDF5 file for the images, None if there is no folder for them.
    settings : settings of the sink.
    route : shared by all series of a sink.

    Attributes
    ----------
    dropped : images given up because they could not be written in time.
    refused : images of another shape than the descriptor declares.
    changed : whether this object wrote anything that was not there before.
    """

    def __init__(
        self, key: ArrayKey, path: Path | None, settings: TiledSettings, route: FrameRoute
    ) -> None:
        self.key = key
        self.dropped = 0
        self.refused = 0
        self.changed = False
        self._settings = settings
        self._route = route
        self._pending: dict[int, NDArray[Any]] = {}
        self._file = None if path is None else FrameFile(path, key.shape, key.dtype)
        self._unregistered: dict[int, None] = {}
        self._unconfirmed: dict[int, None] = {}
        self._node: ArrayClient | None = None
        self._looked = False
        self._rejected = False
        self._events = 0
        self._length = 0

    def add(self, index: int, image: Any) -> None:
        """Take an image; None and images of a wrong shape leave a gap."""
        self._events = max(self._events, index + 1)
        if image is None:
            return
        array = np.asarray(image)
        if array.shape != self.key.shape or self._rejected:
            self.refused += 1
            return
        self._pending[index] = array
        while self.pending_bytes > self._settings.max_pending_bytes:
            self._pending.pop(next(iter(self._pending)))
            self.dropped += 1

    @property
    def pending_bytes(self) -> int:
        """Return the bytes of images that are neither in the file nor on the server."""
        size = int(np.prod(self.key.shape)) * self.key.dtype.itemsize
        return len(self._pending) * size

    @property
    def pending(self) -> int:
        """Count images of which the server does not know yet."""
        return len(self._pending) + len(self._unregistered) + len(self._unconfirmed)

    def write_file(self) -> None:
        """Write waiting images to the file; needs no server.

        Raises
        ------
        SinkError, OSError
            The file cannot be written; the images are kept.
        """
        if self._route.route == "hdf5" and self._pending:
            self._store()
            self._pending.clear()

    def close_file(self) -> None:
        """Close the file, if there is one."""
        if self._file is not None:
            self._file.close()

    def flush(self, connection: TiledConnection, parent: Container, *, final: bool) -> None:
        """Bring the server up to date; `final` also makes the array as long as the stream.

        Raises
        ------
        httpx.HTTPError
            The server failed; what is unsent is kept for the next call.
        """
        if not (self.pending or final):
            return
        self._look_up(connection, parent)
        if self._rejected:
            return
        if final:
            self._fill_tail()
        if self._route.route == "http":
            self._send(parent)
        else:
            self._register_range(connection, parent)

    def forget_node(self) -> None:
        """Look the node up again: the server may have lost it."""
        self._node = None
        self._looked = False
        self._length = 0

    def _look_up(self, connection: TiledConnection, parent: Container) -> None:
        if not self._looked:
            node = connection.child(parent, self.key.name)
            if node is not None:
                try:
                    self._check_continues(node)
                except SinkError as error:
                    self._reject(error)
                self._length = len(node)
            self._node = node
            # a request to make it may go through although its answer is lost: look again then
            self._looked = node is not None

    def _reject(self, error: SinkError) -> None:
        """Leave the images that the server has as they are; rows are not affected."""
        _log.warning("images are left as they are: %s", error)
        self._rejected = True
        self.refused += len(self._pending)
        self._pending.clear()
        self._unregistered.clear()
        self._unconfirmed.clear()

    def _check_continues(self, node: ArrayClient) -> None:
        """Continue an array the way it was begun, or say why that cannot be."""
        source = source_of(node)
        ours = self._file is not None and source.mimetype == HDF5
        if ours and source.assets[0].data_uri != self._uri():
            raise SinkError(
                f"{self.key.name} was begun in {source.assets[0].data_uri}, not in {self._uri()}; "
                "set frames_dir to the folder of that file"
            )
        if source.mimetype == HDF5 and not ours:
            raise SinkError(
                f"{self.key.name} was begun in {source.assets[0].data_uri}; set frames_dir"
            )
        if self._route.route == "undecided":
            self._route.route = "hdf5" if ours else "http"
        elif (self._route.route == "hdf5") != ours:
            raise SinkError(
                f"{self.key.name} was begun over HTTP; set frames to 'http' to continue it"
            )

    def _fill_tail(self) -> None:
        """Let the array end with the stream, where its last events came without an image."""
        if self._file is not None and self._route.route == "hdf5":
            self._unregistered.update(dict.fromkeys(self._file.extend(self._events)))
        elif self._events > max(self._length, max(self._pending, default=-1) + 1):
            blank = np.nan if self.key.dtype.kind == "f" else 0
            self._pending[self._events - 1] = np.full(self.key.shape, blank, self.key.dtype)

    def _store(self) -> None:
        assert self._file is not None
        changed = self._file.write(self._pending)
        self.changed |= bool(changed)
        self._unregistered.update(dict.fromkeys(changed))
        # held already, by a writer that died before us: did it tell the server?
        held = (i for i in self._pending if i >= self._length and i not in self._unregistered)
        self._unconfirmed.update(dict.fromkeys(held))

    def _uri(self) -> str:
        assert self._file is not None
        return f"file://localhost{self._file.path}"

    # -- HDF5 ------------------------------------------------------------------------------

    def _register_range(self, connection: TiledConnection, parent: Container) -> None:
        if self._pending:
            self._store()
        if not self._count():
            return
        node = self._register(parent) if self._node is None else self._node
        if self._route.route == "undecided" and not self._server_reads(connection, node):
            self._send(parent)
            return
        self._pending.clear()
        self._unconfirmed.clear()
        self._unregistered.update(dict.fromkeys(range(self._length, self._count())))
        self._length = self._count()
        source = self._source(source_of(node).id)
        for start, stop in ranges(self._unregistered, self._count()):
            put_data_source(node, source, start, (stop - start, *self.key.shape))
            for i in range(start, stop):
                del self._unregistered[i]

    def _register(self, parent: Container) -> ArrayClient:
        node: ArrayClient = parent.new(
            StructureFamily.array, [self._source(None)], key=self.key.name
        )
        self._node = node
        self._length = 0
        return node

    def _server_reads(self, connection: TiledConnection, node: ArrayClient) -> bool:
        """Decide the route by letting the server read what we wrote."""
        assert self._file is not None
        if readable(node):
            self._route.route = "hdf5"
            return True
        _log.warning(
            "the Tiled server cannot read %s; images go over HTTP. Put the folder into the "
            "server's readable_storage to avoid that.",
            self._file.path.parent,
        )
        connection.delete(node)
        self._node = None
        self._unregistered.clear()
        self._unconfirmed.clear()
        self._route.route = "http"
        return False

    def _count(self) -> int:
        return 0 if self._file is None else len(self._file)

    def _source(self, source_id: int | None) -> DataSource[ArrayStructure]:
        return DataSource(
            id=source_id,
            structure_family=StructureFamily.array,
            structure=self._structure(self._count(), self._chunk()),
            mimetype=HDF5,
            parameters={"dataset": DATASET, "swmr": True},
            assets=[Asset(data_uri=self._uri(), is_directory=False, parameter="data_uris", num=0)],
            management=Management.external,
        )

    # -- HTTP ------------------------------------------------------------------------------

    def _send(self, parent: Container) -> None:
        if not self._pending:
            return
        if self._node is None:
            structure = self._structure(max(self._pending) + 1, 1)
            self._node = new_array(parent, self.key.name, structure, {})
        size = int(np.prod(self.key.shape)) * self.key.dtype.itemsize
        for start, stop in ranges(
            self._pending, max(1, self._settings.request_bytes // max(1, size))
        ):
            block = np.stack([self._pending[i] for i in range(start, stop)])
            patch_array(self._node, block.astype(self.key.dtype, copy=False), start)
            self.changed = True
            self._length = max(self._length, stop)
            for i in range(start, stop):
                del self._pending[i]

    def _structure(self, count: int, chunk: int) -> ArrayStructure:
        dims = ("time", *(f"{self.key.name}_{axis}" for axis in axes(len(self.key.shape))))
        return structure_of((count, *self.key.shape), self.key.dtype, chunk, dims)

    def _chunk(self) -> int:
        """Return images per chunk for readers: large, to keep the list of chunks short."""
        return max(1, CHUNK_BYTES // max(1, int(np.prod(self.key.shape)) * self.key.dtype.itemsize))


def source_of(node: ArrayClient) -> DataSource[ArrayStructure]:
    """Return the data source of an array; a node of our connection carries it."""
    sources = node.data_sources() or []
    return cast("DataSource[ArrayStructure]", sources[0])


def axes(ndim: int) -> tuple[str, ...]:
    """Return the names of the axes of one image: (y, x), or numbers."""
    return ("y", "x") if ndim == 2 else tuple(str(i) for i in range(ndim))
