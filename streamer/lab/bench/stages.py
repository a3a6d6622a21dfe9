"""Time per frame and stage of the core, in one process and one thread of control."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np
import torch

from ....models.detector import Detections, make_detector
from ....models.device import resolve_device
from ...config import Settings
from ...core import assemble, correct, streams, xanes
from ...core.assemble.chunks import frames_from_chunk
from ...core.frames import FrameRef, NamedDocument, OpticalDensityFrame, Role
from ...core.link import LinkResult, LinkState, Observation, make_linker
from ...core.pipeline.pipeline import Pipeline
from ...core.results import FrameResult, Ledger
from ...io.reference_files import load_references

T = TypeVar("T")


@dataclass(slots=True)
class StageTimes:
    """Seconds spent in each stage, one entry per sample frame."""

    stages: dict[str, list[float]] = field(default_factory=dict)

    def measure(self, stage: str, call: Callable[[], T]) -> T:
        """Call, and book the time that it took."""
        begin = time.perf_counter()
        result = call()
        self.stages.setdefault(stage, []).append(time.perf_counter() - begin)
        return result

    def medians(self) -> dict[str, float]:
        """Median of each stage, ms."""
        return {name: 1e3 * float(np.median(times)) for name, times in self.stages.items()}

    def means(self) -> dict[str, float]:
        """Mean of each stage, ms: it counts what is not done in every frame, such as maps."""
        return {name: 1e3 * float(np.mean(times)) for name, times in self.stages.items()}


@dataclass(frozen=True, slots=True)
class _TimedLinker:
    """A linker that books its time, so that the rest of the pipeline is told apart."""

    inner: Any
    times: StageTimes

    def init(self) -> LinkState:
        return self.inner.init()

    def start_run(self, state: LinkState) -> LinkState:
        return self.inner.start_run(state)

    def update(
        self,
        state: LinkState,
        detections: Detections,
        od: Any,
        claims: tuple[Observation, ...] = (),
        valid: Any = None,
    ) -> tuple[LinkState, LinkResult]:
        return self.times.measure(
            "link", lambda: self.inner.update(state, detections, od, claims, valid)
        )

    def confirm(self, state: LinkState, measured: Any) -> LinkState:
        return self.inner.confirm(state, measured)


def time_stages(
    stream: Iterator[NamedDocument],
    settings: Settings,
    progress: Callable[[], object] = lambda: None,
) -> tuple[StageTimes, int]:
    """Send a run through the core one frame at a time, as when it comes live.

    Parameters
    ----------
    stream : documents of one run with in-line images, flats before the sample.
    progress : is called after each sample frame.

    Returns
    -------
    The times, and the number of particles in the last frame.
    """
    times = StageTimes()
    device = resolve_device(settings.process.device)
    detector = make_detector(settings.detect, device)
    linker = _TimedLinker(make_linker(settings.link), times)
    pipeline = Pipeline(linker, settings.registration, device)
    state, assembler, corrector = pipeline.init(), assemble.init(settings.assemble), correct.init()
    basis = xanes.make_basis(settings.xanes, load_references(settings.xanes))
    spectra, particles = xanes.init(), 0
    for name, doc in stream:
        begin = time.perf_counter()
        assembler, outputs = assemble.update(assembler, name, doc)
        spent = time.perf_counter() - begin
        for ref in (o for o in outputs if isinstance(o, FrameRef)):
            (frame,) = frames_from_chunk(ref, np.asarray(ref.array))
            if ref.role is not Role.SAMPLE:
                corrector, _ = correct.update(corrector, frame, settings.correct)
                continue
            begin = time.perf_counter()
            corrector, (job, *_) = correct.update(corrector, frame, settings.correct)
            corrected = correct.apply(frame.image, job, settings.correct)
            times.stages.setdefault("assemble", []).append(spent)
            times.stages.setdefault("correct", []).append(time.perf_counter() - begin)
            found = times.measure("detect", lambda c=corrected: _detect(detector, c, device))
            state, result = times.measure(
                "link + register",
                lambda s=state, c=corrected, f=found: pipeline.update(s, c, f),
            )
            spectra, told = times.measure(
                "spectra + maps",
                lambda s=spectra, r=result: xanes.update(s, r, basis, settings.xanes),
            )
            times.measure("documents", lambda r=result, t=told: _documents(r, t))
            particles = len(result.particles)
            progress()
    both, link = times.stages.pop("link + register"), times.stages["link"]
    times.stages["register + align"] = [b - a for a, b in zip(link, both, strict=True)]
    return times, particles


def _documents(result: FrameResult, told: xanes.XanesUpdate) -> list[dict[str, Any]]:
    rows = [streams.particle_data(result, particle) for particle in result.particles]
    rows += [streams.spectrum_data(row) for row in told.spectra]
    rows += [streams.map_data(item) for item in told.maps]
    shape = (0, 0) if result.aligned is None else result.aligned.shape
    return [*rows, streams.frame_data(result, (shape[0], shape[1]), 0.0, Ledger().live(1))]


def _detect(detector: Any, corrected: OpticalDensityFrame, device: torch.device) -> Detections:
    od = torch.from_numpy(corrected.od)[None, None].to(device)
    valid = torch.from_numpy(corrected.valid)[None, None].to(device)
    return detector.detect(od, valid)[0]
