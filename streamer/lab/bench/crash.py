"""A service that is killed again and again during one run, against one that is left alone."""

from __future__ import annotations

import contextlib
import random
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ....callbacks.publisher import FramePublisher
from ...core.frames import NamedDocument
from ...service.tiled_server import EmbeddedTiled, free_port
from ..rig import Child, RigError, start_proxy
from ..simulate import SimSettings, simulate_documents
from .harness import Progress, no_progress

_SPAN_S = (0.3, 6.0)  # from when the service is ready to its end; by eye
_VOLATILE = ["latency", "seq_num", "time"]
_NUMBERED = ("frames", "particles", "spectra", "maps")  # advice that results lag tells the clock
_NO_IMAGES = ("rows", "internal", "preview", "preview_unaligned")


@dataclass(frozen=True, slots=True, kw_only=True)
class CrashFigures:
    """Comparison of a run that was disturbed with one that was not.

    Attributes
    ----------
    kills : how often the service was killed while the run went on.
    starts : how often it came to the point of processing.
    frames, rows, images : frames of the run, rows of particles, and aligned images in Tiled.
    differences : what is not as in the undisturbed run, in words; empty if all is.
    catch_up : s from the last document published to the end of the run in Tiled.
    balanced : whether the ledger balances.
    """

    kills: int
    starts: int
    frames: int
    rows: int
    images: int
    differences: tuple[str, ...]
    catch_up: float
    balanced: bool


def measure_crashes(
    settings: SimSettings,
    kills: int,
    folder: Path,
    *,
    seed: int = 0,
    progress: Progress = no_progress,
) -> CrashFigures:
    """Run a scan twice, once with the service killed at random moments, and compare the results.

    Parameters
    ----------
    settings : what is simulated.
    kills : SIGKILLs during the run, which is slowed down until all have been dealt.
    folder : for everything that is written.
    seed : of the moments: every fourth service is killed while it starts, the others later.

    Raises
    ------
    RigError
        A part does not start, or a run does not end.
    """
    documents = list(simulate_documents(settings, order="fxi", chunk=1))
    progress(f"{len(documents)} documents; first the undisturbed run", 0, 1)
    whole = _undisturbed(documents, folder / "whole")
    with ExitStack() as stack:
        rig = _Rig(folder / "killed", stack)
        stop = threading.Event()
        publishing = threading.Thread(target=rig.publish, args=(documents, kills, stop))
        dice = random.Random(seed)  # noqa: S311 - moments of a rehearsal, no secret
        service = rig.start("0")
        service.wait_for("ready: subscribed", 120)
        publishing.start()
        stack.callback(publishing.join)
        stack.callback(stop.set)
        starts = 1
        for kill in range(1, kills + 1):
            if kill % 4:
                service.wait_for("ready: subscribed", 120)
            time.sleep(dice.uniform(*_SPAN_S))
            if not service.running:
                raise RigError(service.story("ended before it was killed"))
            starts += kill > 1 and "ready: subscribed" in service.log.read_text(errors="replace")
            service.process.send_signal(signal.SIGKILL)
            service.process.wait()
            rig.dealt = kill
            progress("killed", kill, kills)
            service = rig.start(str(kill))
        publishing.join()
        ended = time.monotonic()
        if service.wait(300):
            raise RigError(service.story("failed"))
        catch_up = time.monotonic() - ended
        killed = rig.results()
    return CrashFigures(
        kills=kills,
        starts=starts,
        frames=int(killed.tables["frames"]["frame"].nunique()),
        rows=len(killed.tables["particles"]),
        images=len(killed.images["frames/aligned"]),
        differences=tuple(_differences(whole, killed)),
        catch_up=catch_up,
        balanced=bool(killed.stop["ledger"]["balanced"]),
    )


@dataclass(frozen=True, slots=True)
class _Results:
    tables: dict[str, pd.DataFrame]
    images: dict[str, np.ndarray]  # by stream/array
    stop: dict[str, Any]


class _Rig:
    """Tiled, a proxy and a service behind a journal, in a folder of their own."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.published = 0
        self.dealt = 0
        self._folder = folder
        self._stack = stack
        self._tiled = stack.enter_context(EmbeddedTiled(folder / "tiled"))
        ports = free_port(), free_port()
        self._addresses = tuple(f"127.0.0.1:{port}" for port in ports)
        stack.enter_context(start_proxy(folder, *ports))

    def start(self, name: str) -> Child:
        """Start the service; the one before has ended or was killed."""
        folder, tiled = self._folder, self._tiled
        arguments = ["--zmq", self._addresses[1], "--tiled", tiled.base_uri, "--runs", "1"]
        arguments += ["--frames-dir", str(tiled.frames_dir), "--profile", "sim_txm"]
        arguments += ["--journal", str(folder / "journal")]
        child = Child(
            ["-m", "operando.streamer.cli", "process", *arguments],
            folder / f"service-{name}.log",
            {"TILED_API_KEY": tiled.api_key, "OPERANDO_JOURNAL__LINGER_S": "60"},
        )
        return self._stack.enter_context(child)

    def publish(
        self, documents: Sequence[NamedDocument], kills: int, stop: threading.Event
    ) -> None:
        """Publish a run, spread over so many kills, and to its end when all have been dealt."""
        with contextlib.closing(FramePublisher(self._addresses[0])) as publisher:
            publisher.wait_connected(10)
            for number, (name, doc) in enumerate(documents, 1):
                publisher(name, doc)
                self.published = number
                while self.dealt < kills * number / len(documents):
                    if stop.wait(0.05):
                        return

    def results(self) -> _Results:
        """Read the one run that Tiled holds."""
        from tiled.client import from_uri

        client = from_uri(self._tiled.uri)
        try:
            (run,) = client.values()
            names = [name for name in run if name in _NUMBERED]
            tables = {n: run[n].read().drop(columns=_VOLATILE, errors="ignore") for n in names}
            images = {
                f"{name}/{key}": run[name].base[key].read()
                for name in names
                for key in set(run[name].base) - set(_NO_IMAGES)
            }
            return _Results(tables, images, dict(run.metadata["stop"]))
        finally:
            client.context.close()


def _undisturbed(documents: Sequence[NamedDocument], folder: Path) -> _Results:
    with ExitStack() as stack:
        rig = _Rig(folder, stack)
        service = rig.start("0")
        service.wait_for("ready: subscribed", 120)
        rig.publish(documents, 0, threading.Event())
        if service.wait(300):
            raise RigError(service.story("failed"))
        return rig.results()


def _differences(whole: _Results, killed: _Results) -> Iterator[str]:
    for name, table in whole.tables.items():
        other = killed.tables.get(name)
        if other is None or table.shape != other.shape:
            shape = None if other is None else other.shape
            yield f"{name}: {table.shape} rows and columns, after the kills {shape}"
        elif not table.equals(other[table.columns]):
            odd = [c for c in table if not table[c].equals(other[c])]
            yield f"{name}: other values in {', '.join(odd)}"
    for name, images in whole.images.items():
        other = killed.images.get(name)
        if other is None or not np.array_equal(images, other, equal_nan=True):
            yield f"images of {name} {'are missing' if other is None else 'differ'}"
    if whole.stop["ledger"] != killed.stop["ledger"]:
        yield f"ledger {killed.stop['ledger']} instead of {whole.stop['ledger']}"
