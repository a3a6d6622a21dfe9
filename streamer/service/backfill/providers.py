"""Providers of documents that were missed: recordings, a journal, raw runs in Tiled."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from ...core.frames import NamedDocument
from ...errors import ConfigError, RecordingError
from ...io.recording.dialects import read_file
from ...io.recording.reader import cleaned, list_recordings, read_tiled_run, tiled_run
from ...io.tiled.key import without_key
from .fill import Provider

logger = logging.getLogger(__name__)
_NEWEST = 20  # runs that are searched; by eye: a run in progress is among the last few


def make_provider(place: str) -> Provider:
    """Find out what a place is.

    Parameters
    ----------
    place : folder with recordings (``operando record``), or ``http(s)://`` address of the container
        of the raw runs in Tiled.

    Raises
    ------
    ConfigError
        It is neither.
    """
    if place.startswith(("http://", "https://")):
        return TiledProvider(place)
    path = Path(place)
    if path.is_dir():
        return RecordingProvider(path)
    raise ConfigError(
        f"--backfill takes a folder with recordings or the address of the raw runs in Tiled, got "
        f"{place!r}: there is no such folder"
    )


class RecordingProvider:
    """Recordings in a folder, the newest first; they may still be written.

    Parameters
    ----------
    folder : as ``operando record`` makes it.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @property
    def name(self) -> str:
        """Return the folder."""
        return f"the folder {self._folder}"

    def run_of(self, key: str, value: str) -> Iterator[NamedDocument] | None:
        """See `Provider`."""
        newest = sorted(
            list_recordings(self._folder), key=lambda p: p.stat().st_mtime, reverse=True
        )
        for path in newest[:_NEWEST]:
            if any(n == key and d.get("uid") == value for n, d in _documents(path)):
                return _documents(path)
        return None


def _documents(path: Path) -> Iterator[NamedDocument]:
    try:
        for item in read_file(path, logger.debug):
            yield item.name, item.doc
    except RecordingError as error:
        logger.debug("%s", error)  # a file that is no recording has nothing for us


class TiledProvider:
    """Raw runs in a container of a Tiled server, the newest first.

    Parameters
    ----------
    uri : of the container; an ``api_key`` may be among its parameters, else it
        is looked for as `connection.connect` does.
    """

    def __init__(self, uri: str) -> None:
        self._uri = uri

    @property
    def name(self) -> str:
        """Return the address, without a key."""
        return f"Tiled at {without_key(self._uri)}"

    def run_of(self, key: str, value: str) -> Iterator[NamedDocument] | None:
        """See `Provider`."""
        uri = self._find(key, value)
        if uri is None:
            return None
        query = urlsplit(self._uri).query
        address = urlsplit(uri)._replace(query=query).geturl()
        return ((item.name, item.doc) for item in read_tiled_run(address))

    def _find(self, key: str, value: str) -> str | None:
        with tiled_run(self._uri) as container:
            try:
                newest = container.values().tail(_NEWEST)
                return next((str(r.uri) for r in reversed(newest) if _has(r, key, value)), None)
            except Exception as error:
                raise RecordingError(f"cannot look for runs there: {cleaned(error)}") from error


def _has(run: Any, key: str, value: str) -> bool:
    if key == "start":
        return run.metadata.get("start", {}).get("uid") == value
    if not hasattr(run, "values"):
        return False
    return any(stream.metadata.get("uid") == value for stream in run.values())
