"""Frames per second on a GPU, at the size of the paper and at that of a whole detector."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ....models.device import resolve_device
from ...config import Settings
from ...simulate import SimSettings, Simulator, preset
from .cost import Cost, cost_per_frame
from .series import documents_of
from .speed import Speed, measure_speed

NOT_MEASURED = "not measured: no CUDA device"
_FRAMES = {460: 100, 2048: 24}


@dataclass(frozen=True, slots=True, kw_only=True)
class Throughput:
    """Of one size of frame.

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
        documents = documents_of(Simulator(_simulated(side, frames, seed)))
        # the first run pays for what is compiled and captured
        measure_speed(documents, settings, settings.process.max_batch)
        yield Throughput(
            side=side,
            live=measure_speed(documents, settings),
            queued=measure_speed(documents, settings, settings.process.max_batch),
            cost=cost_per_frame(documents, settings),
        )


def _simulated(side: int, frames: int, seed: int) -> SimSettings:
    name = "paper" if side <= 460 else "large_2048"
    return preset(name, seed=seed, n_energies=frames, chunk=1)
