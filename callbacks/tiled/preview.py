"""A small picture of the newest image, for live views."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from tiled.client.array import ArrayClient
from tiled.client.container import Container

from ...streamer.io.tiled.connection import TiledConnection, new_array, put_block, structure_of

PREVIEW = "preview"


def preview_names(keys: tuple[str, ...]) -> dict[str, str]:
    """Names of the arrays with previews, by image key."""
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
