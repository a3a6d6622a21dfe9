"""Real processes: a proxy, a service, a RunEngine; and results read back."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from bluesky import RunEngine
from tiled.client import from_uri
from tiled.client.container import Container

from operando.streamer.core.streams import rows_of
from operando.streamer.io.recording.reader import read_documents
from operando.streamer.lab.rig import Child, start_proxy, start_service
from operando.streamer.service.tiled_server import EmbeddedTiled, free_port


@pytest.fixture
def run_engine() -> Iterator[RunEngine]:
    """Return a RunEngine whose event loop is closed afterwards, which bluesky itself never does."""
    engine = RunEngine({}, call_returns_result=False)
    yield engine
    engine.loop.call_soon_threadsafe(engine.loop.stop)
    engine._th.join()
    engine.loop.close()


@pytest.fixture
def connect() -> Iterator[Callable[[EmbeddedTiled], Container]]:
    """Connect to a Tiled server; the connection is closed after the test."""
    clients = []

    def make(server: EmbeddedTiled) -> Container:
        clients.append(from_uri(server.uri))
        return clients[-1]

    yield make
    for client in clients:
        client.context.close()


@dataclass
class Rig:
    """A stock proxy, and a service that writes to a Tiled server."""

    folder: Path
    stack: ExitStack
    port_in: int = field(default_factory=free_port)
    port_out: int = field(default_factory=free_port)

    def __post_init__(self) -> None:
        self.stack.enter_context(start_proxy(self.folder, self.port_in, self.port_out))

    def service(self, *arguments: str, tiled: EmbeddedTiled | None = None) -> Child:
        """Start `operando process` behind the proxy."""
        given = ["--zmq", f"127.0.0.1:{self.port_out}", *arguments]
        if tiled is not None:
            given += ["--tiled", tiled.base_uri, "--frames-dir", str(tiled.frames_dir)]
        key = "" if tiled is None else tiled.api_key
        return self.stack.enter_context(start_service(self.folder, given, key))

    def start(self, child: Child) -> Child:
        """Have a child process end with the rig."""
        return self.stack.enter_context(child)


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    """A proxy, and whatever the test starts behind it."""
    with ExitStack() as stack:
        yield Rig(tmp_path, stack)


IMAGES = {"particles": ("roi", "outline"), "frames": ("aligned", "unaligned")}


@dataclass
class Results:
    """Results of one run: scalars without the latency, and images in the order of their rows."""

    particles: pd.DataFrame
    frames: pd.DataFrame
    images: dict[str, np.ndarray]
    stop: dict

    @classmethod
    def of_documents(cls, documents) -> Results:
        """Out of result documents."""
        rows = {"particles": [], "frames": [], **rows_of(documents)}
        stop = next((doc for name, doc in reversed(documents) if name == "stop"), {})
        particles, frames = rows["particles"], rows["frames"]
        return cls(
            particles=_scalars(particles, IMAGES["particles"]),
            frames=_scalars(frames, (*IMAGES["frames"], "latency")),
            images={
                key: np.stack([row[key] for row in rows[stream]])
                for stream, keys in IMAGES.items()
                for key in keys
                if rows[stream]
            },
            stop=stop,
        )

    @classmethod
    def of_recording(cls, path: Path) -> Results:
        """Out of a recording of result documents."""
        return cls.of_documents([(item.name, item.doc) for item in read_documents(path)])

    @classmethod
    def of_tiled(cls, run) -> Results:
        """Out of the client of a result run."""
        return cls(
            particles=run["particles"].read().drop(columns=["seq_num", "time"]),
            frames=run["frames"].read().drop(columns=["seq_num", "time", "latency"]),
            images={key: run[stream][key].read() for stream in IMAGES for key in IMAGES[stream]},
            stop=run.metadata["stop"],
        )

    def assert_equal(self, other: Results) -> None:
        """Bit for bit, in every column."""
        for mine, its in ((self.particles, other.particles), (self.frames, other.frames)):
            assert set(mine.columns) == set(its.columns)
            pd.testing.assert_frame_equal(
                mine[sorted(mine.columns)].reset_index(drop=True),
                its[sorted(mine.columns)].reset_index(drop=True),
                check_exact=True,
                check_dtype=False,
            )
        assert set(self.images) == set(other.images)
        for key, images in self.images.items():
            np.testing.assert_array_equal(images, other.images[key], err_msg=key)


def _scalars(rows: list[dict], without: tuple[str, ...]) -> pd.DataFrame:
    return pd.DataFrame([{k: v for k, v in row.items() if k not in without} for row in rows])


@pytest.fixture(scope="session")
def results() -> type[Results]:
    """Reader of results."""
    return Results


@pytest.fixture(scope="session")
def wait_until() -> Callable[[Callable[[], object], float], object]:
    """Ask again and again until the answer is true; return it."""
    import time

    def wait(ask: Callable[[], object], timeout: float = 30.0) -> object:
        deadline = time.monotonic() + timeout
        while not (answer := ask()):
            assert time.monotonic() < deadline, f"not within {timeout} s"
            time.sleep(0.1)
        return answer

    return wait
