"""Images of Tiled as one byte per pixel, kept for the next viewer."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

import httpx
import numpy as np
from numpy.typing import NDArray

_TRIES, _PAUSE_S = 4, 0.15
_AT_ONCE = 2
_STRIPES = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class EncodedImage:
    """An image; pixel value 0 is unknown, 1 to 255 go from `low` to `high`.

    Attributes
    ----------
    data : (h, w) uint8. low, high : of the values, in the unit of the image.
    step : every how many-th pixel of the image it holds.
    """

    data: NDArray[np.uint8]
    low: float
    high: float
    step: int


def picture_of(image: NDArray[np.float32], step: int = 1) -> EncodedImage:
    """Stretch the central 98 % of the values of an image over 1..255.

    Parameters
    ----------
    image : (h, w); what is not finite becomes 0. step : handed on.
    """
    known = np.isfinite(image)
    if not known.any():
        return EncodedImage(data=np.zeros(image.shape, np.uint8), low=0.0, high=0.0, step=step)
    low, high = (float(v) for v in np.percentile(image[known], (1, 99)))
    scaled = (np.where(known, image, low) - low) / max(high - low, 1e-12)
    data = np.where(known, 1 + np.clip(scaled, 0, 1) * 254, 0).astype(np.uint8)
    return EncodedImage(data=data, low=low, high=high, step=step)


def step_for(shape: tuple[int, int], longest: int) -> int:
    """Every how many-th pixel keeps the longest side within `longest` px."""
    return max(1, -(-max(shape) // longest))


Where = tuple[str, str, str, int]
"""Run, stream, array key, row."""


class PictureStore:
    """Remembers pictures; several viewers of one cost one request.

    Parameters
    ----------
    read : reads every n-th pixel of an image: ``read(where, shape, step)``; raises
        `httpx.HTTPError`.
    longest : longest side of a picture, px. most_bytes : what is kept.
    """

    def __init__(
        self,
        read: Callable[[Where, tuple[int, int], int], NDArray[np.float32]],
        longest: int = 768,
        most_bytes: int = 96 << 20,
    ) -> None:
        self._read = read
        self._longest = longest
        self._most = most_bytes
        self._kept: OrderedDict[Where, EncodedImage] = OrderedDict()
        self._bytes = 0
        self._lock = threading.Lock()
        self._room = threading.Semaphore(_AT_ONCE)
        self._same = [threading.Lock() for _ in range(_STRIPES)]

    def get(self, where: Where, shape: tuple[int, int]) -> EncodedImage:
        """Return a picture; may be called from several threads.

        Raises
        ------
        httpx.HTTPError
            Tiled does not give it.
        """
        known = self._recall(where)
        if known is not None:
            return known
        # whoever wants the same picture waits for it, and finds it then
        with self._same[hash(where) % _STRIPES], self._room:
            known = self._recall(where)
            return known if known is not None else self._fetch(where, shape)

    def _recall(self, where: Where) -> EncodedImage | None:
        with self._lock:
            if where in self._kept:
                self._kept.move_to_end(where)
            return self._kept.get(where)

    def _fetch(self, where: Where, shape: tuple[int, int]) -> EncodedImage:
        step = step_for(shape, self._longest)
        left = _TRIES
        while True:  # Tiled announces an image before it can be read
            try:
                picture = picture_of(self._read(where, shape, step), step)
                break
            except httpx.HTTPError:
                left -= 1
                if not left:
                    raise
                time.sleep(_PAUSE_S)
        if picture.data.any():
            self._keep(where, picture)
        return picture

    def _keep(self, where: Where, picture: EncodedImage) -> None:
        with self._lock:
            if where not in self._kept:
                self._bytes += picture.data.nbytes
            self._kept[where] = picture
            while self._bytes > self._most and len(self._kept) > 1:
                self._bytes -= self._kept.popitem(last=False)[1].data.nbytes
