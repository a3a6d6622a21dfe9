"""A second process that writes HDF5 as a detector's file writer does."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from operando.streamer.core.frames import AssetRef
from operando.streamer.io.assets import AssetSettings, AssetStore

WRITER = """
import sys, h5py, numpy as np
path, libver = sys.argv[1], sys.argv[2]
file = h5py.File(path, "w", libver=libver)
kw = dict(compression="gzip") if len(sys.argv) > 3 and sys.argv[3] == "gzip" else {}
data = file.create_dataset("entry/data/data", shape=(0, 16, 20), maxshape=(None, 16, 20),
                           chunks=(1, 16, 20), dtype="u2", **kw)
print("ready", flush=True)
for line in sys.stdin:
    word, *args = line.split()
    if word == "swmr":
        file.swmr_mode = True
    elif word == "grow":
        data.resize(int(args[0]), axis=0)
    elif word == "write":
        i = int(args[0])
        if i >= data.shape[0]:
            data.resize(i + 1, axis=0)
        data[i] = i + 1
    elif word == "flush":
        file.flush()
    elif word == "close":
        file.close()
    elif word == "append":
        file = h5py.File(path, "r+", libver=libver)
        data = file["entry/data/data"]
    print("done", flush=True)
"""


class Writer:
    """Drives the writing process, one command at a time."""

    def __init__(self, path: Path, *options: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(path), *options],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._answer()

    def __call__(self, *commands: str) -> None:
        assert self.process.stdin is not None
        for command in commands:
            self.process.stdin.write(command + "\n")
            self.process.stdin.flush()
            self._answer()

    def _answer(self) -> None:
        assert self.process.stdout is not None
        answer = self.process.stdout.readline().strip()
        assert answer in ("ready", "done"), answer

    def end(self) -> None:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.close()
        self.process.wait(20)
        self.process.stdout.close()


@pytest.fixture
def writer():
    """Start a writing process."""
    started: list[Writer] = []

    def start(path: Path, *options: str) -> Writer:
        started.append(Writer(path, *options))
        return started[-1]

    yield start
    for process in started:
        process.end()


class Clock:
    """A clock that only sleeping moves."""

    def __init__(self) -> None:
        self.now = 0.0
        self.naps = 0
        self.then: Any = None

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        self.naps += 1
        if self.then is not None:
            self.then(self.naps)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def new_store(tmp_path, clock):
    """Make a store that may read the test's folder, with a clock that only sleeping moves."""
    stores: list[AssetStore] = []

    def make(**settings: Any) -> AssetStore:
        settings.setdefault("allowed_roots", (tmp_path,))
        stores.append(AssetStore(AssetSettings(**settings), clock=clock, sleep=clock.sleep))
        return stores[-1]

    yield make
    for store in stores:
        store.close()


@pytest.fixture
def ref():
    """Make a reference to images of a file."""

    def make(
        path: Any,
        start: int = 0,
        stop: int = 1,
        kind: str = "application/x-hdf5",
        **parameters: Any,
    ) -> AssetRef:
        resource = parameters.pop("resource", "res")
        run = parameters.pop("run", "run")
        if kind == "application/x-hdf5":
            parameters.setdefault("dataset", "/entry/data/data")
        return AssetRef(
            kind=kind,
            uri=str(path),
            parameters=parameters,
            start=start,
            stop=stop,
            run=run,
            resource=resource,
        )

    return make
