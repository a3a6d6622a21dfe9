"""Time of the whole path: document in, positions, velocities and accelerations out."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from ....callbacks.processor import StreamProcessor
from ....models.device import resolve_device
from ...config import Settings
from ...frames import NamedDocument
from .estimates import Rows
from .series import sample_events


@dataclass(frozen=True, slots=True, kw_only=True)
class Speed:
    """What a run took.

    Attributes
    ----------
    frames : of the run. particles : median number that was told per frame.
    seconds : wall time of all documents but the stop: flats and dark, then correction, detection,
        linking, registration, displacement, velocity, acceleration and aligned images.
    processor : time that the processors spent on the same, s: what is left of `seconds` where
        other programs want the same cores, if one thread is used.
    stop : wall time of the stop, in which the scan is looked at a second time, s.
    median : of the documents that hold one frame, s; NaN if frames came in batches.
    """

    frames: int
    particles: float
    seconds: float
    processor: float
    stop: float
    median: float

    @property
    def rate(self) -> float:
        """Frames per second, without the stop."""
        return self.frames / self.seconds


def measure_speed(
    documents: Sequence[NamedDocument],
    settings: Settings,
    batch: int = 1,
    progress: Callable[[], object] = lambda: None,
) -> Speed:
    """Send a run that was made beforehand through a processor, and look at the clock.

    Parameters
    ----------
    documents : of one run, one frame an event. settings : of the processor.
    batch : documents handed over at once; with 1 they come as they come live.
    progress : is called after each batch.
    """
    rows = Rows()
    processor = StreamProcessor(settings)
    processor.subscribe(rows)
    frames = set(sample_events(documents))
    *body, stop = documents
    spent: list[float] = []
    total, busy = 0.0, time.process_time()
    for first in range(0, len(body), batch):
        part = body[first : first + batch]
        begin = time.perf_counter()
        processor.process(part)
        _synchronise()
        took = time.perf_counter() - begin
        total += took
        if batch == 1 and first in frames:
            spent.append(took)
        progress()
    busy = time.process_time() - busy
    begin = time.perf_counter()
    told = rows.table
    processor.process([stop])
    _synchronise()
    ended = time.perf_counter() - begin
    processor.close()
    return Speed(
        frames=len(frames),
        particles=float(told.groupby("frame").size().median()) if len(told) else 0.0,
        seconds=total,
        processor=busy,
        stop=ended,
        median=float(np.median(spent)) if spent else float("nan"),
    )


def machine(device: str, threads: int) -> str:
    """The device in words, with the threads and how busy the machine is."""
    if resolve_device(device).type == "cuda":
        name = torch.cuda.get_device_name(resolve_device(device))
    else:
        name = _processor_name()
    load = os.getloadavg()[0]
    cores = os.cpu_count() or 1
    return f"{name}, {threads} of {cores} cores' threads for torch, load {load:.1f} at the start"


def _synchronise() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def _processor_name() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
