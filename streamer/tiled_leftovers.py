"""Arrays that a killed Tiled server had begun to create.

Tiled makes the folder of an array first and commits its node to the catalogue afterwards. A
server that is killed in between finds the folder there at every later attempt to create that
array, and fails each time (HTTP 500, zarr's ``ContainsArrayError``), for ever. Such a folder
holds nothing but the description of an empty array, so it may go before the server starts.
"""

from __future__ import annotations

import logging
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from urllib.parse import unquote, urlparse

_log = logging.getLogger(__name__)

CATALOGUE = "catalog.db"
DATA = "data"
_DESCRIPTIONS = {"zarr.json", ".zarray", ".zattrs"}


def remove_leftovers(directory: Path) -> list[Path]:
    """Remove empty arrays that the catalogue does not know; only while no server runs.

    Parameters
    ----------
    directory : of the server, with ``catalog.db`` and ``data`` in it; without a catalogue nothing
        is done.

    Returns
    -------
    Folders that were removed. An array of which a single chunk is written is never among them.

    Raises
    ------
    OSError, sqlite3.Error
        A folder cannot be removed, or the catalogue cannot be read.
    """
    catalogue = directory / CATALOGUE
    if not catalogue.exists():
        return []
    empty = list(_empty_arrays(directory / DATA))
    known = _known(catalogue) if empty else set[Path]()
    left = [folder for folder in empty if folder.resolve() not in known]
    for folder in left:
        for description in folder.iterdir():
            description.unlink()
        folder.rmdir()
        _log.warning("removed %s: a server was killed while it created this array", folder)
    return left


def _empty_arrays(data: Path) -> Iterator[Path]:
    for root, folders, names in os.walk(data):
        if _DESCRIPTIONS.intersection(names):
            if not folders and _DESCRIPTIONS.issuperset(names):
                yield Path(root)
            folders.clear()


def _known(catalogue: Path) -> set[Path]:
    with closing(sqlite3.connect(f"{catalogue.as_uri()}?mode=ro", uri=True)) as database:
        addresses = [row[0] for row in database.execute("SELECT data_uri FROM assets")]
    return {Path(unquote(urlparse(address).path)).resolve() for address in addresses}
