"""The connection to a Tiled server, and the requests of a writer, each tried once.

The stock client retries every request for up to 45 s. A sink that has to keep frames moving to
disk while the server is away wants to know at once; it does its own retrying, round by round.
Creating nodes is rare and goes through the stock client, after a probe.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, cast
from urllib.parse import parse_qs

import httpx
import numpy as np
from numpy.typing import NDArray
from tiled.client import from_context
from tiled.client.array import ArrayClient
from tiled.client.base import BaseClient
from tiled.client.container import Container
from tiled.client.context import Context
from tiled.client.dataframe import DataFrameClient
from tiled.client.utils import MSGPACK_MIME_TYPE, client_for_item, handle_error, retry_context
from tiled.structures.array import ArrayStructure, BuiltinDtype
from tiled.structures.core import StructureFamily
from tiled.structures.data_source import DataSource
from tiled.utils import safe_json_dump

from ...errors import SinkError
from .key import stored_key, without_key

_FIRST_ANSWER_S = 20.0
"""Longest wait for the first answer where the caller names none, s; by eye."""

OCTETS = {"Content-Type": "application/octet-stream"}
CLIENTS: dict[str, Any] = {
    StructureFamily.container: Container,
    StructureFamily.array: ArrayClient,
    StructureFamily.table: DataFrameClient,
}
"""The writer's view of nodes: no special clients, no requests that they would make."""


def connect(uri: str, timeout: float | None = None) -> tuple[Context, list[str]]:
    """Connect to a server, after one request that shows whether it is there at all.

    Parameters
    ----------
    uri : address of a server or of a node; its key is the one among its parameters, else that of
        the environment, else that of the keyring.
    timeout : longest wait for one answer, s; None: that of Tiled's client.

    Returns
    -------
    Context of the connection, to be closed by the caller, and the keys of the node.

    Raises
    ------
    httpx.HTTPError
        The server does not answer, or does not let us in.
    """
    # the stock client tries for 45 s to reach a server that is not there
    answer = httpx.get(without_key(uri), timeout=timeout or _FIRST_ANSWER_S)
    if answer.is_server_error:
        answer.raise_for_status()
    wait = None if timeout is None else httpx.Timeout(timeout)
    context, path = Context.from_any_uri(uri, api_key=stored_key(uri), timeout=wait)
    return context, list(path)


@contextmanager
def opened(uri: str, timeout: float | None = None) -> Iterator[Any]:
    """Give the stock client of a node for as long as the context lasts, see `connect`."""
    context, path = connect(uri, timeout)
    with context:
        yield from_context(context, node_path_parts=path)


class TiledConnection:
    """A place on a Tiled server under which runs are written.

    Parameters
    ----------
    target : a container client, or an address (with ``?api_key=``) that is connected to at the
        first use.
    parent : keys below `target` of the container that holds result runs; created if absent.
    timeout : longest wait for one answer, s.
    """

    def __init__(self, target: Any, parent: tuple[str, ...] = (), timeout: float = 30.0) -> None:
        self._target = target
        self._parent = parent
        self._timeout = timeout
        self._root: Container | None = None

    def root(self) -> Container:
        """Return the container of result runs; connects at the first call.

        Raises
        ------
        httpx.HTTPError
            The server does not answer or does not let us in.
        """
        if self._root is None:
            node = self._connect()
            for key in self._parent:
                child = self.child(node, key)
                if child is None:
                    child = node.create_container(key=key)
                node = cast("Container", child)
            self._root = node
        return self._root

    def _connect(self) -> Container:
        client = self._target
        if isinstance(client, str):
            context, path = connect(client, self._timeout)
            client = from_context(context, node_path_parts=path)
        return Container(
            client.context,
            item=client.item,
            structure_clients=CLIENTS,
            include_data_sources=True,
        )

    def probe(self) -> None:
        """Ask for something small, once.

        Raises
        ------
        httpx.HTTPError
            The server is not there.
        """
        root = self.root()
        handle_error(root.context.http_client.get(root.context.api_uri))

    def close(self) -> None:
        """Close the connection, if it was opened here; the next use opens it again."""
        if self._root is not None and isinstance(self._target, str):
            self._root.context.close()
            self._root = None

    def child(self, node: BaseClient, key: str) -> Any | None:
        """Return the child of `node`, None if there is none."""
        response = node.context.http_client.get(
            f"{node.uri.rstrip('/')}/{key}",
            params={"include_data_sources": True},
            headers={"Accept": MSGPACK_MIME_TYPE},
        )
        if response.status_code == httpx.codes.NOT_FOUND:
            return None
        item = cast("httpx.Response", handle_error(response)).json()["data"]
        return client_for_item(node.context, CLIENTS, item, include_data_sources=True)

    def delete(self, node: BaseClient) -> None:
        """Remove a node and the data that the server itself holds of it.

        Tried more than once, as the stock client does: a server that has just failed to read a
        file also drops the connection.
        """
        params = {"recursive": True, "external_only": False}
        for attempt in retry_context():
            with attempt:
                handle_error(node.context.http_client.delete(node.uri, params=params))


def new_array(
    parent: Container, key: str, structure: ArrayStructure, metadata: Mapping[str, Any]
) -> ArrayClient:
    """Create an array whose data the server holds.

    Raises
    ------
    SinkError
        The server fails at it, while it answers otherwise.
    httpx.HTTPError
        The server is not there, or no longer knows `parent`.
    """
    source = DataSource(structure=structure, structure_family=StructureFamily.array)
    try:
        return parent.new(StructureFamily.array, [source], key=key, metadata=dict(metadata))
    except httpx.HTTPStatusError as error:
        if error.response.status_code != httpx.codes.INTERNAL_SERVER_ERROR:
            raise
        where = "/".join(part for part in (*parent.path_parts, key) if part)
        raise SinkError(
            f"the Tiled server fails to create the array {where} (HTTP 500). If it was killed "
            f"while it created this array, an empty folder {where} was left in its "
            "writable_storage, and has to be removed; the server of operando does so when it starts"
        ) from error


def structure_of(
    shape: tuple[int, ...], dtype: np.dtype[Any], chunk: int, dims: tuple[str, ...]
) -> ArrayStructure:
    """Return the structure of an array in chunks of `chunk` along its first axis."""
    whole, rest = divmod(shape[0], chunk)
    first = (chunk,) * whole + ((rest,) if rest else ())
    return ArrayStructure(
        data_type=BuiltinDtype.from_numpy_dtype(dtype),
        shape=shape,
        chunks=(first, *((size,) for size in shape[1:])),
        dims=dims,
    )


def patch_array(node: ArrayClient, array: NDArray[Any], start: int) -> None:
    """Write `array` at index `start` of the first axis, growing the array if need be."""
    offset = (start,) + (0,) * (array.ndim - 1)
    response = node.context.http_client.patch(
        node.item["links"]["full"],
        content=np.ascontiguousarray(array).tobytes(),
        headers=OCTETS,
        params={"offset": _commas(offset), "shape": _commas(array.shape), "extend": True},
    )
    handle_error(response)


def put_block(node: ArrayClient, array: NDArray[Any], *, persist: bool) -> None:
    """Replace the only block of an array; subscribers get it whether it is stored or not."""
    address, _, query = node.item["links"]["block"].format(*(0,) * array.ndim).partition("?")
    response = node.context.http_client.put(
        address,
        content=np.ascontiguousarray(array).tobytes(),
        headers=OCTETS,
        params={**parse_qs(query), **({} if persist else {"persist": False})},
    )
    handle_error(response)


def put_data_source(
    node: ArrayClient, source: DataSource, start: int, shape: tuple[int, ...]
) -> None:
    """Tell server and subscribers that an external array changed from `start` on."""
    offset = (start,) + (0,) * (len(shape) - 1)
    response = node.context.http_client.put(
        node.uri.replace("/metadata/", "/data_source/", 1),
        content=safe_json_dump({"data_source": source}),
        params={"patch_shape": _commas(shape), "patch_offset": _commas(offset)},
    )
    handle_error(response)


def readable(node: ArrayClient) -> bool:
    """Tell whether the server can read the first value of an array."""
    response = node.context.http_client.get(
        node.item["links"]["full"],
        params={"slice": ",".join("0" for _ in node.shape), "format": "application/octet-stream"},
    )
    return not response.is_error


def _commas(values: tuple[int, ...]) -> str:
    return ",".join(str(value) for value in values)
