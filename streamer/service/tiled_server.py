"""A Tiled server of our own: for the demo, the tests and a beamline without one.

It runs as a child process, so that it neither shares our interpreter lock nor dies with a fault
of ours, and it ends with us: its standard input is a pipe that we hold, and the end of that pipe
ends the server, also when this process was killed.
"""

from __future__ import annotations

import logging
import os
import secrets
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import closing
from importlib.resources import as_file, files
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import unquote, urlparse

import httpx

from ..errors import OperandoError
from ..io.redact import RedactingStream, redacted

_log = logging.getLogger(__name__)
PROFILE = "sim_txm"
DIRECTORY_VARIABLE = "OPERANDO_TILED_DIR"
KEY_VARIABLE = "TILED_SINGLE_USER_API_KEY"
CATALOGUE = "catalog.db"
DATA = "data"
_DESCRIPTIONS = {"zarr.json", ".zarray", ".zattrs"}


class TiledServerError(OperandoError):
    """The embedded Tiled server does not start."""

    reason = "tiled_server"


class EmbeddedTiled:
    """A Tiled server as a child process; use it as a context manager.

    Parameters
    ----------
    directory : folder for the catalogue, arrays, tables and frame files; kept between starts.
    port : TCP port; 0 picks a free one.
    host : address to listen on.
    api_key : key that clients must give; None makes one. It is handed over in the environment,
        never on the command line.
    config : Tiled configuration; None takes the one of the profile ``sim_txm``. In it
        ``${OPERANDO_TILED_DIR}`` stands for `directory`.
    start_timeout : s to wait for the server to answer.

    Attributes
    ----------
    uri : address with the API key, for ``tiled.client.from_uri``; holds a secret, do not log it.
    frames_dir : folder for frame files that the server may read.
    log : file with the server's output.
    """

    def __init__(
        self,
        directory: str | Path,
        *,
        port: int = 0,
        host: str = "127.0.0.1",
        api_key: str | None = None,
        config: str | Path | None = None,
        start_timeout: float = 60.0,
    ) -> None:
        self.directory = Path(directory).resolve()
        self.host = host
        self.port = port or free_port(host)
        self.api_key = api_key or secrets.token_hex(16)
        self.config = None if config is None else Path(config).resolve()
        self.start_timeout = start_timeout
        self.frames_dir = self.directory / "frames"
        self.log = self.directory / "tiled.log"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def base_uri(self) -> str:
        """Return the address without the API key: safe to show."""
        return f"http://{self.host}:{self.port}"

    @property
    def uri(self) -> str:
        """Return the address with the API key."""
        return f"{self.base_uri}?api_key={self.api_key}"

    @property
    def pid(self) -> int | None:
        """Process id of the running server."""
        return None if self._process is None else self._process.pid

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Start the server and wait until it answers.

        Raises
        ------
        TiledServerError
            It ended, or did not answer within `start_timeout`; the message ends with its log.
        """
        for folder in (self.directory, self.directory / "data", self.frames_dir):
            folder.mkdir(parents=True, exist_ok=True)
        if self.config is not None:
            self._spawn(self.config)
        else:
            with as_file(files("operando.profiles") / PROFILE / "tiled.yml") as config:
                self._spawn(config)

    def stop(self, timeout: float = 10.0) -> None:
        """End the server; kill it if it has not ended after `timeout` s."""
        process, self._process = self._process, None
        if process is None:
            return
        process.terminate()
        try:
            process.wait(timeout)
        except subprocess.TimeoutExpired:
            _log.warning("the Tiled server did not end within %.0f s and was killed", timeout)
            process.kill()
            process.wait()
        if process.stdin is not None:
            process.stdin.close()

    def _spawn(self, config: Path) -> None:
        arguments = ["serve", "config", str(config), "--host", self.host, "--port", str(self.port)]
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603
                [sys.executable, "-m", __name__, *arguments],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=self._environment(os.environ),
            )
        self._wait_until_healthy()

    def _environment(self, base: Mapping[str, str]) -> dict[str, str]:
        return {
            **base,
            DIRECTORY_VARIABLE: str(self.directory),
            KEY_VARIABLE: self.api_key,
            "PYTHONUNBUFFERED": "1",
        }

    def _wait_until_healthy(self) -> None:
        deadline = time.monotonic() + self.start_timeout
        while time.monotonic() < deadline:
            if self._process is None or self._process.poll() is not None:
                self.stop()
                raise TiledServerError(self._story("ended while starting"))
            if answers(self.base_uri):
                return
            time.sleep(0.1)
        story = self._story(f"did not answer within {self.start_timeout:.0f} s")
        self.stop()
        raise TiledServerError(story)

    def _story(self, what: str) -> str:
        tail = redacted(self.log.read_text(errors="replace")[-2000:].replace(self.api_key, "***"))
        return f"the Tiled server at {self.base_uri} {what}; the end of {self.log}:\n{tail}"


def free_port(host: str = "127.0.0.1") -> int:
    """Return a TCP port that nothing listens on at the moment."""
    with socket.socket() as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])


def answers(base_uri: str, timeout: float = 2.0) -> bool:
    """Tell whether a Tiled server answers at `base_uri` (address without path or key)."""
    try:
        return httpx.get(f"{base_uri}/healthz", timeout=timeout).is_success
    except httpx.HTTPError:
        return False


def _end_with_parent() -> None:
    """Wait for the end of standard input, then end this process."""
    sys.stdin.buffer.read()
    os._exit(0)


def main() -> None:
    """Run the ``tiled`` command in this process until standard input ends."""
    threading.Thread(target=_end_with_parent, daemon=True, name="end-with-parent").start()
    # Tiled prints its address with the key, and requests of websockets carry it: both get logged.
    sys.stdout = RedactingStream(sys.stdout)  # pyright: ignore[reportAttributeAccessIssue]
    sys.stderr = RedactingStream(sys.stderr)  # pyright: ignore[reportAttributeAccessIssue]
    from tiled.commandline.main import main as tiled_main

    remove_leftovers(Path(os.environ[DIRECTORY_VARIABLE]))
    sys.argv[0] = "tiled"
    tiled_main()


# Arrays that a killed Tiled server had begun to create.
#
# Tiled makes the folder of an array first and commits its node to the catalogue afterwards. A
# server that is killed in between finds the folder there at every later attempt to create that
# array, and fails each time (HTTP 500, zarr's ``ContainsArrayError``), for ever. Such a folder
# holds nothing but the description of an empty array, so it may go before the server starts.


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


if __name__ == "__main__":
    main()
