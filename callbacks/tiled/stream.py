"""One stream of a result run on its way to Tiled: a container, in it an array per part."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from tiled.client.array import ArrayClient
from tiled.client.base import BaseClient
from tiled.client.container import Container
from tiled.client.metadata_update import DELETE_KEY
from tiled.structures.core import Spec

from ...streamer.io.tiled.connection import TiledConnection, new_array, put_block, structure_of
from ...streamer.io.tiled.settings import TiledSettings
from .images import FrameRoute, FrameSeries
from .rows import ROWS, TABLE, RowSeries, array_keys, scalar_columns, table_of, write_table

STREAM_SPECS = (
    Spec("OperandoStream", "1.0"),
    Spec("BlueskyEventStream", "3.0"),
    Spec("composite", None),
)
"""Clients take the first spec they know: ours, then bluesky's, then Tiled's own."""

EXTERNAL = "STREAM:"
PREVIEW = "preview"


class StreamWriter:
    """One stream of a run: rows of its scalars, an array per array key, perhaps previews.

    Its parts are the arrays that it has on the server, by their names there.

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
        images = {series.key.name for series in self.frames if len(series.key.shape) == 2}
        self._previews = {
            key: Preview(name, settings.preview_px)
            for key, name in preview_names(settings.preview_keys).items()
            if key in images
        }
        self._node: Container | None = None

    def add(self, event: Mapping[str, Any], now: float) -> None:
        """Take one event; nothing is sent yet."""
        seq_num, data = int(event["seq_num"]), event["data"]
        self.rows.add(seq_num, float(event["time"]), data, now)
        for series in self.frames:
            series.add(seq_num - 1, data.get(series.key.name))
        for key, preview in self._previews.items():
            if data.get(key) is not None:
                preview.add(data[key])

    @property
    def changed(self) -> bool:
        """Tell whether the server holds something new through us."""
        return self.rows.changed or any(series.changed for series in self.frames)

    @property
    def pending(self) -> int:
        """Count rows and images of which the server does not know yet."""
        return self.rows.pending + sum(series.pending for series in self.frames)

    @property
    def waiting(self) -> dict[str, int]:
        """Count rows or images of which the server does not know yet, by part."""
        # rows last: who sees a row may read its images
        found = {series.key.name: series.pending for series in self.frames}
        found[ROWS] = self.rows.pending
        return {name: count for name, count in found.items() if count}

    def flush(
        self,
        connection: TiledConnection,
        run: Container,
        now: float,
        *,
        final: bool,
        only: Collection[str] | None = None,
    ) -> None:
        """Send what is waiting of the parts named by `only`, or of all.

        Raises
        ------
        httpx.HTTPError, SinkError
            It did not all arrive; the rest is kept for the next call.
        """
        waiting = self.waiting
        if not final and not any(only is None or name in only for name in waiting):
            return
        node = self._open(connection, run)
        for series in self.frames:
            if only is None or series.key.name in only:
                series.flush(connection, node, final=final)
        if only is None or ROWS in only:
            self.rows.flush(connection, node, now, final=final)
        for preview in self._previews.values() if self.changed else ():
            if only is None or preview.name in only:
                preview.flush(connection, node, final=final)

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
        """Yield the nodes of the stream that are on the server, the stream itself last."""
        node = self._open(connection, run)
        previews = (preview.name for preview in self._previews.values())
        for key in (*(series.key.name for series in self.frames), ROWS, *previews):
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
        for preview in self._previews.values():
            preview.forget_node()
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
        """Return the metadata of the stream; arrays in files are marked external."""
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


def preview_names(keys: tuple[str, ...]) -> dict[str, str]:
    """Return the names of the arrays with previews, by image key."""
    return {key: f"{PREVIEW}_{key}" if i else PREVIEW for i, key in enumerate(keys)}


class Preview:
    """The newest image, down-sampled to uint8; only the last one of a run is stored.

    Parameters
    ----------
    name : of its array. longest : longest side, px.
    """

    def __init__(self, name: str, longest: int) -> None:
        self.name = name
        self._longest = longest
        self._newest: NDArray[Any] | None = None
        self._fresh = False
        self._node: ArrayClient | None = None

    def add(self, image: NDArray[Any]) -> None:
        """Take an image; it replaces one that was not sent yet."""
        self._newest, self._fresh = image, True

    def flush(self, connection: TiledConnection, parent: Container, *, final: bool) -> None:
        """Send the newest image; store it if `final`.

        Raises
        ------
        httpx.HTTPError
            The server failed.
        """
        if self._newest is None or not (self._fresh or final):
            return
        picture = shrink(self._newest, self._longest)
        created = self._node is None and self._find(connection, parent, picture)
        assert self._node is not None
        put_block(self._node, picture, persist=final or created)
        self._fresh = False

    def forget_node(self) -> None:
        """Look the node up again: the server may have lost it."""
        self._node = None

    def _find(
        self, connection: TiledConnection, parent: Container, picture: NDArray[np.uint8]
    ) -> bool:
        self._node = connection.child(parent, self.name)
        if self._node is not None:
            return False
        dims = (f"{self.name}_y", f"{self.name}_x")
        structure = structure_of(picture.shape, picture.dtype, picture.shape[0], dims)
        self._node = new_array(parent, self.name, structure, {})
        return True


def shrink(image: NDArray[Any], longest: int) -> NDArray[np.uint8]:
    """Take every n-th pixel and stretch the central 98 % of the values over 0..255.

    Parameters
    ----------
    image : (H, W), not-a-number shows as 0.
    longest : longest side of the result, px.

    Returns
    -------
    (h, w) uint8
    """
    step = max(1, -(-max(image.shape) // longest))
    small = np.asarray(image[::step, ::step], dtype=np.float32)
    known = small[np.isfinite(small)]
    if known.size == 0:
        return np.zeros(small.shape, np.uint8)
    low, high = np.percentile(known, (1, 99))
    scaled = (small - low) / max(float(high - low), 1e-12)
    return (np.clip(np.nan_to_num(scaled, nan=0.0), 0, 1) * 255).astype(np.uint8)
