"""The few questions that the dashboard asks a Tiled server; all of them only read.

A request costs the server 20 to 40 ms whatever it carries, so that each one here answers as much
as it can. Every request is tried once: the caller knows when to ask again.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Self
from urllib.parse import quote

import httpx
import numpy as np
from numpy.typing import NDArray
from tiled.client.context import Context

from .connection import connect

OCTETS = "application/octet-stream"


class TiledReads:
    """A place on a Tiled server where result runs lie.

    Parameters
    ----------
    context : of Tiled's client. parts : keys of the container that holds the runs.
    """

    def __init__(self, context: Context, parts: tuple[str, ...]) -> None:
        self.context = context
        self.parts = parts
        self._base = str(context.api_uri).rstrip("/")

    @classmethod
    def connect(cls, uri: str, timeout: float) -> Self:
        """Connect, see `connection.connect`.

        Raises
        ------
        httpx.HTTPError
            The server does not answer.
        """
        context, path = connect(uri, timeout)
        return cls(context, tuple(path))

    def close(self) -> None:
        """Close the connection."""
        self.context.close()

    def runs(self, most: int) -> list[Mapping[str, Any]]:
        """Metadata (``start``, ``stop``) of the newest result runs, newest first."""
        params = {
            "page[limit]": most,
            "sort": "-",
            "fields": ["metadata"],
            "filter[specs][condition][include]": json.dumps(["OperandoRun"]),
            "filter[specs][condition][exclude]": "[]",
        }
        return [
            {"key": item["id"], **item["attributes"]["metadata"]}
            for item in self._children((), params)
        ]

    def streams(self, run: str) -> dict[str, dict[str, str]]:
        """Streams that a run has so far, and the unit of each data key of theirs."""
        found: dict[str, dict[str, str]] = {}
        for item in self._children((run,), {"page[limit]": 100}):
            keys = item["attributes"]["metadata"].get("data_keys", {})
            found[item["id"]] = {name: key.get("units") or "" for name, key in keys.items()}
        return found

    def arrays(self, run: str, stream: str) -> dict[str, Mapping[str, Any]]:
        """``shape`` and ``metadata`` of each array that a stream has so far."""
        found: dict[str, Mapping[str, Any]] = {}
        for item in self._children((run, stream), {"page[limit]": 100}):
            attributes = item["attributes"]
            if attributes["structure_family"] == "array":
                shape = tuple(attributes["structure"]["shape"])
                found[item["id"]] = {"shape": shape, "metadata": attributes["metadata"]}
        return found

    def rows(self, run: str, stream: str, start: int, stop: int, width: int) -> NDArray[np.float64]:
        """Rows ``start <= i < stop`` of a stream, (n, width) float64."""
        content = self._part((run, stream, "rows"), start, stop)
        return np.frombuffer(content, np.float64).reshape(-1, width)

    def outlines(
        self, run: str, stream: str, start: int, stop: int, width: int
    ) -> NDArray[np.float32]:
        """Outlines of the particles of rows ``start <= i < stop``, (n, width) float32."""
        content = self._part((run, stream, "outline"), start, stop)
        return np.frombuffer(content, np.float32).reshape(-1, width)

    def image(
        self, run: str, stream: str, key: str, row: int, shape: tuple[int, int], step: int
    ) -> NDArray[np.float32]:
        """Every `step`-th pixel of one float32 image, (ceil(H / step), ceil(W / step))."""
        content = self._get(
            f"array/full/{self._path((run, stream, key))}",
            {"slice": f"{row},::{step},::{step}", "format": OCTETS},
        ).read()
        height, width = (-(-side // step) for side in shape)
        return np.frombuffer(content, np.float32).reshape(height, width)

    def node(self, run: str, stream: str, key: str) -> list[str]:
        """Path of an array, to subscribe to it."""
        return [*self.parts, run, stream, key]

    def _part(self, below: tuple[str, ...], start: int, stop: int) -> bytes:
        params = {"slice": f"{start}:{stop}", "format": OCTETS}
        return self._get(f"array/full/{self._path(below)}", params).read()

    def _children(self, below: tuple[str, ...], params: Mapping[str, Any]) -> list[Any]:
        answer = self._get(f"search/{self._path(below)}", params, "application/json")
        return answer.json()["data"]

    def _path(self, below: tuple[str, ...]) -> str:
        return "/".join(quote(part, safe="") for part in (*self.parts, *below))

    def _get(self, path: str, params: Mapping[str, Any], accept: str = OCTETS) -> httpx.Response:
        response = self.context.http_client.get(
            f"{self._base}/{path}", params=params, headers={"Accept": accept}
        )
        response.raise_for_status()
        return response
