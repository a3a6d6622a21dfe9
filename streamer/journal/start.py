"""Sees to it that somebody keeps the journal."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from ..errors import JournalError
from .folder import JournalFolder

_START_S = 30.0
_END_S = 10.0


def ensure_keeper(path: Path, address: str, options: Sequence[str] = ()) -> int | None:
    """Start a keeper, unless one is at work on this journal already.

    It goes on for a while when its parent is killed, so that nothing is missed until that is
    started again.

    Parameters
    ----------
    path : folder of the journal.
    address : of the 0MQ proxy's out side.
    options : further options of ``operando journal``.

    Returns
    -------
    Process id of a keeper that lives for this journal's reader; None for one that was started by
    somebody else as a service of its own, and is not ours to end.

    Raises
    ------
    JournalError
        The keeper does not start, or the one at work listens to another address.
    """
    folder = JournalFolder(path)
    if not folder.locked("keeper"):
        _start(folder, address, options)
    told = folder.told("keeper")
    if told.get("address") != address:
        raise JournalError(
            f"the journal {path} is kept by process {told.get('pid')} for {told.get('address')}, "
            f"not for {address}: end that process, or name another folder"
        )
    return int(told["pid"]) if told.get("lingers") else None


def end_keeper(pid: int) -> None:
    """End a keeper that lives for us; one that has ended by itself is no error."""
    try:
        os.kill(pid, signal.SIGTERM)
        deadline = time.monotonic() + _END_S
        while time.monotonic() < deadline:
            if _reaped(pid):
                return
            os.kill(pid, 0)
            time.sleep(0.02)
    except ProcessLookupError:
        return


def _reaped(pid: int) -> bool:
    """Take the exit status of a child; an adopted keeper is none."""
    try:
        return os.waitpid(pid, os.WNOHANG)[0] == pid
    except ChildProcessError:
        return False


def _start(folder: JournalFolder, address: str, options: Sequence[str]) -> None:
    (folder.path / "keeper.json").unlink(missing_ok=True)
    log = folder.path / "keeper.log"
    with log.open("ab") as output:
        process = subprocess.Popen(  # noqa: S603 - our own interpreter and module
            [
                *(sys.executable, "-m", "operando.streamer.cli", "journal", str(folder.path)),
                *("--zmq", address, "--linger", *options),
            ],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C on the terminal is for the processor
        )
    deadline = time.monotonic() + _START_S
    while not folder.told("keeper"):
        if process.poll() is not None or time.monotonic() > deadline:
            process.kill()
            tail = log.read_text(errors="replace").strip().splitlines()[-1:] or ["it said nothing"]
            raise JournalError(f"the keeper of the journal does not start: {tail[0]} (see {log})")
        time.sleep(0.02)
