"""Pixels of asset references, with files kept open and bounded waiting."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

from numpy.typing import NDArray

from ...core.frames import AssetRef
from ...errors import AssetError, AssetLocked, AssetMissing, AssetNotReady
from .reader import AssetReader, Gate, reader_class
from .settings import AssetSettings

_Key = tuple[str, str, str, str]
_WORTH_WAITING = (AssetNotReady, AssetLocked, AssetMissing)


class AssetStore:
    """Reads the pixels that documents point to. For one thread.

    Parameters
    ----------
    settings : allowed folders, path map, waiting times, bounds.
    clock, sleep : monotonic seconds and waiting; tests put in their own.
    """

    def __init__(
        self,
        settings: AssetSettings | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._settings = settings or AssetSettings()
        self._clock = clock
        self._sleep = sleep
        self._readers: OrderedDict[_Key, AssetReader] = OrderedDict()
        self._given_up: dict[str, str] = {}  # resource -> run

    def read(self, ref: AssetRef) -> NDArray[Any]:
        """Read the (n, H, W) images of a reference.

        Announced images that are not in the file yet are waited for up to `retry_for`; after one
        wait in vain the images of that resource are tried once each and never waited for, until
        `reopen`.

        Raises
        ------
        AssetNotReady, AssetLocked, AssetMissing
            If they were not there in time; `reopen` and a later call may succeed.
        AssetForbidden
            If the file may not be opened.
        AssetError
            If the format is unknown, or the images are too large or no images.
        """
        if ref.stop <= ref.start or ref.start < 0:
            raise AssetError(f"images {ref.start}..{ref.stop} of {ref.uri!r} are none")
        deadline = self._clock() + self._settings.retry_for
        resource = ref.resource or ref.uri
        while True:
            try:
                return self._reader(ref).read(ref.start, ref.stop)
            except _WORTH_WAITING:
                if resource in self._given_up:
                    raise
                if self._clock() + self._settings.retry_every > deadline:
                    self._given_up[resource] = ref.run
                    raise
            self._sleep(self._settings.retry_every)

    def reopen(self, resource: str) -> None:
        """Open the files of a resource afresh at the next `read`, and wait for them again."""
        self._given_up.pop(resource, None)
        self._drop([k for k in self._readers if k[1] == resource])

    def close_run(self, run: str) -> None:
        """Close the files of a run and forget that any were waited for."""
        self._given_up = {k: r for k, r in self._given_up.items() if r != run}
        self._drop([k for k in self._readers if k[0] == run])

    def close(self) -> None:
        """Close all files; a later `read` opens them again."""
        self._given_up = {}
        self._drop(list(self._readers))

    def _reader(self, ref: AssetRef) -> AssetReader:
        # A datum may name its own dataset or file in the same resource.
        inside = "|".join(str(ref.parameters.get(n, "")) for n in ("dataset", "path", "filename"))
        key = (ref.run, ref.resource or ref.uri, ref.uri, inside)
        reader = self._readers.get(key)
        if reader is None:
            kind = reader_class(ref.kind, self._settings.readers)
            reader = self._readers[key] = kind(ref.uri, ref.parameters, Gate(self._settings))
            self._drop(list(self._readers)[: -self._settings.max_open_files])
        self._readers.move_to_end(key)
        return reader

    def _drop(self, keys: list[_Key]) -> None:
        for key in keys:
            self._readers.pop(key).close()
