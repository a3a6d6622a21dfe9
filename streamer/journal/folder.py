"""What lies in the folder of a journal."""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

from ..errors import JournalError

_DIGITS = 20
_SUFFIX = ".journal"
_LOCK_TRIES = 5
_LOCK_WAIT_S = 0.05


class JournalFolder:
    """Paths and small files of a journal.

    Parameters
    ----------
    path : made if absent.

    Raises
    ------
    JournalError
        The folder cannot be made.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise JournalError(
                f"cannot make the folder {path} of the journal: {error}; name another"
            ) from error

    def segments(self) -> list[int]:
        """Positions at which segments begin, rising."""
        found = (p.stem for p in self.path.glob(f"*{_SUFFIX}"))
        return sorted(int(stem) for stem in found if stem.isdigit())

    def segment(self, begin: int) -> Path:
        """Path of the segment that begins at a position."""
        return self.path / f"{begin:0{_DIGITS}d}{_SUFFIX}"

    def tell(self, role: str, values: Mapping[str, Any]) -> None:
        """Replace what the keeper or the reader tells of itself."""
        path = self.path / f"{role}.json"
        fresh = path.with_suffix(".new")
        fresh.write_text(json.dumps({"pid": os.getpid(), **values}))
        fresh.replace(path)

    def told(self, role: str) -> dict[str, Any]:
        """What the keeper or the reader told last; empty if nothing."""
        try:
            return json.loads((self.path / f"{role}.json").read_text())
        except (FileNotFoundError, json.JSONDecodeError):
            return {}

    def lock(self, role: str) -> IO[str] | None:
        """Take the lock of a role; None if another process has it. Closing the file frees it."""
        for _ in range(_LOCK_TRIES):  # somebody may just be looking whether it is taken
            file = (self.path / f"{role}.lock").open("a")
            if _flock(file, fcntl.LOCK_EX):
                return file
            file.close()
            time.sleep(_LOCK_WAIT_S)
        return None

    def locked(self, role: str) -> bool:
        """Whether a living process has the lock of a role."""
        with (self.path / f"{role}.lock").open("a") as file:
            return not _flock(file, fcntl.LOCK_SH)


def _flock(file: IO[str], kind: int) -> bool:
    try:
        fcntl.flock(file, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
