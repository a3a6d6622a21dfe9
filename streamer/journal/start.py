"""Sees to it that somebody keeps the journal."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from ..errors import JournalError
from .folder import JournalFolder

logger = logging.getLogger(__name__)

_START_S = 30.0
_CHECK_S = 1.0
_END_S = 10.0


class KeptJournal:
    """Starts a keeper, unless one is at work on this journal already, and sees to it.

    A keeper that was started here goes on for a while when this process is killed, so that nothing
    is missed until that is started again; the next one adopts it. One that was started by somebody
    else as a service of its own is left alone.

    Parameters
    ----------
    path : folder of the journal.
    address : of the 0MQ proxy's out side.
    options : further options of ``operando journal``.
    clock : monotonic clock, s.

    Raises
    ------
    JournalError
        The keeper does not start, or the one at work listens to another address.
    """

    def __init__(
        self,
        path: Path,
        address: str,
        options: Sequence[str] = (),
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._folder = JournalFolder(path)
        self._address = address
        self._options = options
        self._clock = clock
        self._missed = False
        self._ensure()

    def check(self) -> None:
        """Start a keeper of our own again if it has ended; call it often, it looks rarely."""
        if self._clock() < self._next:
            return
        self._next = self._clock() + _CHECK_S
        missing = not self._folder.locked("keeper")
        if missing and not self._missed:
            logger.error(
                "the keeper of the journal %s has ended: documents are missed until %s",
                self._folder.path,
                "it is started again" if self.pid else "somebody starts it again",
            )
        self._missed = missing
        if missing and self.pid is not None:
            try:
                self._ensure()
            except JournalError as error:  # tried again; what is in the journal is processed
                logger.error("%s", error)  # noqa: TRY400

    def end(self) -> None:
        """End a keeper of our own."""
        if self.pid is not None:
            _end(self.pid)

    def _ensure(self) -> None:
        if not self._folder.locked("keeper"):
            _start(self._folder, self._address, self._options)
        told = self._folder.told("keeper")
        if told.get("address") != self._address:
            raise JournalError(
                f"the journal {self._folder.path} is kept by process {told.get('pid')} for "
                f"{told.get('address')}, not for {self._address}: end that process, or name "
                "another folder"
            )
        self.pid: int | None = int(told["pid"]) if told.get("lingers") else None
        self._next = self._clock() + _CHECK_S


def _end(pid: int) -> None:
    """End a process and wait for it; one that has ended by itself is no error."""
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
