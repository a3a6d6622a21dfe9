"""Result runs in a real Tiled server, a real dashboard before it, and a real browser."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Self

import event_model
import numpy as np
import pytest
from websockets.sync.client import ClientConnection, connect

from operando.callbacks.tiled.sink import TiledSink
from operando.streamer.io.tiled.settings import TiledSettings
from operando.streamer.lab.bench.stream import chromium, find_chromium
from operando.streamer.lab.rig import start_dashboard
from operando.streamer.service.tiled_server import EmbeddedTiled

SHAPE, SIDE = (60, 80), 12
UNITS = {"energy": "eV", "latency": "s", "od": "OD", "edge_energy": "eV"}
SCALARS: dict[str, tuple[str, ...]] = {
    "frames": (
        *("frame", "energy", "revision", "drift_y", "drift_x", "strain_yy", "strain_xx"),
        *("strain_yx", "n_particles", "status", "reason", "latency", "ledger_received"),
        *("ledger_aligned", "ledger_degraded", "ledger_skipped", "ledger_dropped"),
    ),
    "particles": (
        *("frame", "energy", "revision", "particle", "state", "y", "x", "sigma_y", "sigma_x"),
        *("displacement_y", "displacement_x", "velocity_y", "velocity_x", "residual_y"),
        *("residual_x", "area", "od_mean"),
    ),
    "spectra": ("particle", "energy", "od", "od_sigma", "revision"),
    "maps": ("particle", "n_energies"),
    "advice": ("kind", "severity", "message", "particle", "move_y", "move_x", "acted"),
}
WORDS = ("status", "reason", "state", "kind", "severity", "message")
IMAGES = {
    "frames": {"aligned": SHAPE, "unaligned": SHAPE},
    "particles": {"roi": (SIDE, SIDE), "outline": (8,)},
    "maps": {"edge_energy": (SIDE, SIDE), "fraction": (SIDE, SIDE)},
}


class ResultRun:
    """A result run that a test writes event by event, through the real sink."""

    def __init__(self, sink: TiledSink, sample: str = "NMC", time: float = 1000.0) -> None:
        self.time = time
        self._sink = sink
        self._run = event_model.compose_run(
            uid=str(uuid.uuid4()),
            time=time,
            metadata={"original_run_uid": "raw", "sample": sample, "operando": {"profile": "test"}},
        )
        self.uid: str = self._run.start_doc["uid"]
        self._streams: dict[str, Any] = {}
        sink("start", dict(self._run.start_doc))

    def event(self, stream: str, **data: Any) -> None:
        """One event of a stream; what is not given has a default."""
        if stream not in self._streams:
            bundle = self._run.compose_descriptor(name=stream, data_keys=_data_keys(stream))
            self._streams[stream] = bundle
            self._sink("descriptor", dict(bundle.descriptor_doc))
        default = dict.fromkeys(SCALARS[stream], 0)
        default |= {name: "" for name in default if name in WORDS}
        default |= {
            name: np.linspace(0, 1, int(np.prod(shape))).reshape(shape).astype(np.float32)
            for name, shape in IMAGES.get(stream, {}).items()
        }
        data = {**default, **data}
        stamps = dict.fromkeys(data, self.time)
        self._sink(
            "event",
            dict(self._streams[stream].compose_event(data=data, timestamps=stamps, time=self.time)),
        )

    def frame(self, number: int, particles: int = 3, **data: Any) -> None:
        """One frame with its particles, a second after the one before."""
        self.time += 1.0
        energy = 8300.0 + number
        for particle in range(particles):
            place = {"y": 10.0 + 15 * particle + 0.1 * number, "x": 20.0 + 15 * particle}
            self.event(
                "particles",
                **place,
                particle=particle,
                frame=number,
                energy=energy,
                state="tracked",
                area=80.0,
                od_mean=0.3 + 0.1 * particle,
                displacement_y=0.1 * number,
            )
        whole = {"frame": number, "energy": energy, "status": "aligned", "n_particles": particles}
        books = {"ledger_received": number + 1, "ledger_aligned": number + 1}
        self.event("frames", **{**whole, **books, "drift_y": 0.1 * number, "latency": 0.2, **data})

    def stop(self, **ledger: Any) -> None:
        """End the run."""
        stop = self._run.compose_stop(exit_status="success", reason="", time=self.time)
        books = {"received": 0, "aligned": 0, "degraded": 0, "skipped": {}, "dropped": {}}
        self._sink("stop", {**stop, "ledger": {**books, "balanced": True, **ledger}})


def _data_keys(stream: str) -> dict[str, Any]:
    keys: dict[str, Any] = {}
    for name in SCALARS[stream]:
        kind = "string" if name in WORDS else "number"
        keys[name] = {"source": "test", "dtype": kind, "shape": [], "units": UNITS.get(name, "px")}
    for name, shape in IMAGES.get(stream, {}).items():
        keys[name] = {"source": "test", "dtype": "array", "dtype_numpy": "<f4"}
        keys[name] |= {"shape": list(shape), "units": UNITS.get(name, "OD")}
    return keys


class Viewer:
    """A viewer without a browser: connects to a dashboard and keeps what it is told.

    Attributes
    ----------
    rows : by stream, (n, columns) rows in the order of their index. columns : by stream.
    told : text messages, newest last.
    """

    def __init__(self, address: str, run: str = "") -> None:
        self.told: list[dict[str, Any]] = []
        self.columns: dict[str, list[str]] = {}
        self.codes: dict[str, dict[str, list[str]]] = {}
        self._rows: dict[str, dict[int, np.ndarray]] = {}
        self.previews: dict[str, tuple[int, int]] = {}
        self.outlines: dict[int, np.ndarray] = {}
        self.socket: ClientConnection = connect(
            address.replace("http", "ws") + "/live", max_size=None
        )
        self.look(run)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.socket.close()

    def look(self, run: str) -> None:
        self.socket.send(json.dumps({"run": run}))

    def until(self, ask: Any, timeout: float = 30.0) -> Any:
        """Read messages until an answer is true; return it."""
        deadline = time.monotonic() + timeout
        while not (answer := ask()):
            assert time.monotonic() < deadline, (f"not within {timeout} s", self.told[-3:])
            try:
                self.take(self.socket.recv(timeout=0.2))
            except TimeoutError:
                continue
        return answer

    def take(self, payload: str | bytes) -> None:
        if isinstance(payload, str):
            message = json.loads(payload)
            self.told.append(message)
            if message["type"] == "run":
                self._rows.clear()
                self.outlines.clear()
            if message["type"] == "stream":
                self.columns[message["stream"]["name"]] = message["stream"]["columns"]
                self.codes[message["stream"]["name"]] = message["stream"]["codes"]
            return
        length = int.from_bytes(payload[:4], "little")
        header = json.loads(payload[4 : 4 + length])
        if header["type"] == "preview":
            self.previews[header["key"]] = (header["height"], header["width"])
            return
        if header["type"] == "outlines":
            found = np.frombuffer(payload, "<f4", offset=4 + length).reshape(-1, header["columns"])
            self.outlines |= {header["start"] + i: row for i, row in enumerate(found)}
            return
        block = np.frombuffer(payload, "<f8", offset=4 + length).reshape(-1, header["columns"])
        rows = self._rows.setdefault(header["stream"], {})
        rows.update({header["start"] + i: row for i, row in enumerate(block)})

    def count(self, stream: str) -> int:
        return len(self._rows.get(stream, {}))

    def column(self, stream: str, name: str) -> list[float]:
        rows = self._rows.get(stream, {})
        index = self.columns[stream].index(name)
        return [float(rows[i][index]) for i in sorted(rows)]

    def words(self, stream: str, name: str) -> list[str]:
        words = self.codes[stream][name]
        return [words[int(code)] for code in self.column(stream, name)]

    def shows(self, run: ResultRun) -> bool:
        """Whether it is this run that the rows are of."""
        told = (self.last("run") or {}).get("run")
        return told is not None and told["key"] == run.uid

    def last(self, kind: str) -> dict[str, Any] | None:
        return next((m for m in reversed(self.told) if m["type"] == kind), None)


@pytest.fixture(scope="session", name="Viewer")
def viewer_class() -> type[Viewer]:
    """The class of viewers."""
    return Viewer


@pytest.fixture(scope="session", name="ResultRun")
def result_run_class() -> type[ResultRun]:
    """The class of result runs."""
    return ResultRun


@pytest.fixture
def sink(tiled_server: EmbeddedTiled) -> Iterator[TiledSink]:
    """A sink that writes to the server at once."""
    settings = {"frames_dir": str(tiled_server.frames_dir), "first_rows_s": 0.0, "tick_s": 0.02}
    made = TiledSink(tiled_server.uri, TiledSettings.model_validate({**settings, "duty": 1.0}))
    yield made
    made.close()


@pytest.fixture
def new_run(sink: TiledSink) -> Callable[..., ResultRun]:
    """Begin a result run."""
    return lambda *args, **kwargs: ResultRun(sink, *args, **kwargs)


@pytest.fixture(scope="session")
def logs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with the log of the dashboard."""
    return tmp_path_factory.mktemp("dashboard")


@pytest.fixture(scope="session")
def dashboard(tiled_server: EmbeddedTiled, logs: Path) -> Iterator[str]:
    """Address of a dashboard, a process of its own, of the server that all tests share."""
    child, address = start_dashboard(logs, tiled_server.base_uri, tiled_server.api_key)
    with child:
        yield address


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """A real headless Chromium; without one tests skip.

    While it runs this thread has an event loop, so that it ends with the tests that want it.
    """
    if find_chromium() is None:
        pytest.skip("Chromium is not installed (apt-get install chromium)")
    pytest.importorskip("playwright", reason="pip install operando[browser]")
    with chromium() as started:
        yield started


@pytest.fixture
def page(browser: Any) -> Iterator[Any]:
    """A page; anything that it complains about fails the test."""
    context = browser.new_context(viewport={"width": 1400, "height": 1100})
    opened = context.new_page()
    complaints: list[str] = []
    opened.on("pageerror", lambda error: complaints.append(str(error)))
    opened.on(
        "console",
        lambda m: complaints.append(m.text) if "Content Security" in m.text else None,
    )
    opened.set_default_timeout(30_000)
    yield opened
    context.close()
    assert complaints == []
