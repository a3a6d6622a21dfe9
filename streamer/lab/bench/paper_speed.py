"""Time of the whole path: document in, positions, velocities and accelerations out."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

from ....callbacks.processor.processor import StreamProcessor
from ....models.device import resolve_device
from ...config import Settings
from ...core.frames import NamedDocument
from ..simulate import Simulator, preset
from .harness import Progress, ResultRows, no_progress, sample_events, tracked
from .paper_set import documents_of

NOT_MEASURED = "not measured: no CUDA device"
_FRAMES = {460: 100, 2048: 24}  # by side, px: the paper's size, and a whole detector in memory


@dataclass(frozen=True, slots=True, kw_only=True)
class Speed:
    """Time of a run.

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
        """Return the frames per second, without the stop."""
        return self.frames / self.seconds


def measure_speed(
    documents: Sequence[NamedDocument],
    settings: Settings,
    batch: int = 1,
    progress: Progress = no_progress,
) -> Speed:
    """Send a run that was made beforehand through a processor, and look at the clock.

    Parameters
    ----------
    documents : of one run, one frame an event. settings : of the processor.
    batch : documents handed over at once; with 1 they come as they come live.
    progress : is called after each batch.
    """
    rows = ResultRows()
    processor = StreamProcessor(settings)
    processor.subscribe(rows)
    frames = set(sample_events(documents))
    *body, stop = documents
    spent: list[float] = []
    total, busy = 0.0, time.process_time()
    for first in tracked(range(0, len(body), batch), progress, "time", len(documents) / batch):
        part = body[first : first + batch]
        begin = time.perf_counter()
        processor.process(part)
        _synchronise()
        took = time.perf_counter() - begin
        total += took
        if batch == 1 and first in frames:
            spent.append(took)
    busy = time.process_time() - busy
    particles = rows.table("particles")
    begin = time.perf_counter()
    processor.process([stop])
    _synchronise()
    ended = time.perf_counter() - begin
    processor.close()
    return Speed(
        frames=len(frames),
        particles=float(particles.groupby("frame").size().median()) if len(particles) else 0.0,
        seconds=total,
        processor=busy,
        stop=ended,
        median=float(np.median(spent)) if spent else float("nan"),
    )


def _synchronise() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


# Operations and bytes of one frame, the floor under its time on any device.


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """Work of torch for one frame.

    Attributes
    ----------
    flops : of convolutions and matrix products, as `torch.utils.flop_counter` counts them.
    bytes : that all its operations read and write, if none is fused with the next.
    """

    flops: float
    bytes: float


class _Traffic(TorchDispatchMode):
    """Adds up the bytes of what operations read and write; views move nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.total = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        if not getattr(func, "is_view", False):
            self.total += sum(
                leaf.numel() * leaf.element_size()
                for leaf in tree_leaves((args, kwargs, out))
                if isinstance(leaf, torch.Tensor)
            )
        return out


def cost_per_frame(documents: Sequence[NamedDocument], settings: Settings) -> Cost:
    """Count over the second half of a run's frames, when its particles are known.

    Counted on the CPU, whatever the settings say; what numpy does is not counted.

    Parameters
    ----------
    documents : of one run, all flats before the sample. settings : of the processor.
    """
    process = settings.process.model_copy(update={"device": "cpu"})
    processor = StreamProcessor(settings.model_copy(update={"process": process}))
    frames = sample_events(documents)
    counted = frames[len(frames) // 2 :]
    processor.process(documents[: counted[0]])
    with FlopCounterMode(display=False) as flops, _Traffic() as traffic:
        for i in counted:
            processor.process([documents[i]])
    processor.close()
    return Cost(flops=flops.get_total_flops() / len(counted), bytes=traffic.total / len(counted))


# Frames per second on a GPU, at the size of the paper and at that of a whole detector.


@dataclass(frozen=True, slots=True, kw_only=True)
class Throughput:
    """Speed and cost at one size of frame.

    Attributes
    ----------
    side : of the frame, px. live : one frame at a time. queued : as many as fit in a batch.
    cost : of one frame.
    """

    side: int
    live: Speed
    queued: Speed
    cost: Cost

    def __str__(self) -> str:
        return (
            f"{self.side} x {self.side}: {self.queued.rate:.0f} frames/s queued, "
            f"{1e3 * self.live.median:.1f} ms per frame live, {self.cost.flops / 1e9:.2f} GFLOP "
            f"and {self.cost.bytes / 1e9:.2f} GB per frame"
        )


def on_cuda(settings: Settings) -> bool:
    """Tell whether these settings lead to a CUDA device."""
    return resolve_device(settings.process.device).type == "cuda"


def throughputs(settings: Settings, seed: int) -> Iterator[Throughput]:
    """Measure both sizes; nothing without a CUDA device.

    Parameters
    ----------
    settings : of the processor. seed : of the simulator.
    """
    if not on_cuda(settings):
        return
    for side, frames in _FRAMES.items():
        name = "paper" if side <= 460 else "large_2048"
        simulator = Simulator(preset(name, seed=seed, n_energies=frames, chunk=1))
        documents = documents_of(simulator)
        # the first run pays for what is compiled and captured
        measure_speed(documents, settings, settings.process.max_batch)
        yield Throughput(
            side=side,
            live=measure_speed(documents, settings),
            queued=measure_speed(documents, settings, settings.process.max_batch),
            cost=cost_per_frame(documents, settings),
        )
