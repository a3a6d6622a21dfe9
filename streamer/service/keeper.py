"""The process that receives documents and appends them to the journal, and does nothing else."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ..core.frames import Document
from ..errors import JournalError
from ..io.journal.segments import JournalFolder, to_message
from ..io.journal.writer import JournalSettings, JournalWriter
from ..io.sources.zmq import ZmqSource
from ..io.wire.message import Received
from ..io.wire.queue import Losses

logger = logging.getLogger(__name__)
# all by eye
_STATUS_S = 0.25  # between two statuses: readers see within it that the keeper listens
_RETRY_S = 0.2
_MAX_ITEMS = 64
_POLL_S = 0.05
_START_S = 30.0  # longest wait for a keeper that imports on a busy machine
_CHECK_S = 1.0
_END_S = 10.0


class Keeper:
    """Moves documents from a source to the journal.

    Parameters
    ----------
    source : where documents come from; opened and closed by the caller.
    folder : of the journal.
    settings : see `JournalSettings`.
    address : of the source, for others to read.
    linger : end when nobody has read for ``linger_s``; else only at a signal.
    """

    def __init__(
        self,
        source: ZmqSource,
        folder: JournalFolder,
        settings: JournalSettings,
        address: str,
        *,
        linger: bool = False,
    ) -> None:
        self._source = source
        self._folder = folder
        self._settings = settings
        self._address = address
        self._linger = linger
        self._writer = JournalWriter(folder, settings)
        self._dropped = 0
        self._losses = Losses()
        self._status_at = self._synced_at = self._read_at = time.monotonic()
        self._status: dict[str, Any] = {}

    def run(self, stop: threading.Event) -> None:
        """Keep the journal until `stop` is set, or until nobody reads it any more."""
        try:
            while not self._source.exhausted and not self._deserted():
                if stop.is_set():
                    self._source.close()  # what has come in is still written
                for item in self._source.drain(_MAX_ITEMS, _POLL_S):
                    self._keep(item, stop)
                self._housekeeping()
        finally:
            self._write_status()
            self._writer.close()

    def _keep(self, item: Received, stop: threading.Event) -> None:
        """Append a document, after an account of those that were given up before it."""
        named = (item.name, item.doc)
        for name, doc in (*item.lost, *self._losses.documents(), named):
            message = to_message(name, doc)
            while not self._writer.append(message, name, item.received_at):
                self._prune()
                if self._settings.when_full == "drop" or stop.wait(_RETRY_S):
                    self._drop(*named)
                    return
                self._housekeeping()
        self._losses.clear()

    def _drop(self, name: str, doc: Document) -> None:
        self._losses.add(name, doc)
        self._dropped += 1
        if self._dropped == 1:
            logger.error(
                "no room in the journal %s: a document was given up; more are counted, not told. "
                "Free space, or raise journal.max_gb",
                self._folder.path,
            )

    def _housekeeping(self) -> None:
        now = time.monotonic()
        if now - self._synced_at >= self._settings.sync_s:
            self._writer.sync()
            self._synced_at = now
        ready = self._source.ready.is_set()
        if now - self._status_at >= _STATUS_S or ready != self._status.get("ready"):
            self._write_status()
            self._prune()

    def _write_status(self) -> None:
        self._status_at = time.monotonic()
        counters = asdict(self._source.counters())
        counters["dropped"] += self._dropped
        self._status = {
            "address": self._address,
            "ready": self._source.ready.is_set(),
            "status": self._source.status,
            "end": self._writer.end,
            "lingers": self._linger,
            "counters": counters,
        }
        self._folder.write_status("keeper", self._status)

    def _prune(self) -> None:
        self._writer.prune(int(self._folder.read_status("reader").get("confirmed", 0)))

    def _deserted(self) -> bool:
        if not self._linger:
            return False
        now = time.monotonic()
        if self._folder.locked("reader"):
            self._read_at = now
        return now - self._read_at > self._settings.linger_s


class JournalSupervisor:
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
        told = self._folder.read_status("keeper")
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
    while not folder.read_status("keeper"):
        if process.poll() is not None or time.monotonic() > deadline:
            process.kill()
            tail = log.read_text(errors="replace").strip().splitlines()[-1:] or ["it said nothing"]
            raise JournalError(f"the keeper of the journal does not start: {tail[0]} (see {log})")
        time.sleep(0.02)
