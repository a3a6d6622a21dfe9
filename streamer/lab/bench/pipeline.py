"""The way of a frame: time per stage of the core, and files and functions that it passes."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from types import CodeType, FrameType
from typing import Any, TypeVar

import numpy as np
import torch

from .... import models
from ....callbacks.processor.processor import StreamProcessor
from ....models.detector import Detections, make_detector
from ....models.device import resolve_device
from ...config import Settings
from ...core import assemble, correct, data_keys, xanes
from ...core.assemble.chunks import frames_from_chunk
from ...core.frames import FrameRef, NamedDocument, OpticalDensityFrame, Role
from ...core.link import make_linker
from ...core.pipeline.pipeline import Pipeline
from ...core.results import FrameResult, Ledger
from ...io.reference_files import load_references
from ..simulate import preset, simulate_documents
from .harness import Column, Progress, Table, no_progress, sample_events

T = TypeVar("T")
_ROOT = Path(os.path.realpath(models.__file__)).parents[1]


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
        """Return the median of each stage, ms."""
        return {name: 1e3 * float(np.median(times)) for name, times in self.stages.items()}

    def means(self) -> dict[str, float]:
        """Return the mean of each stage, ms: it counts what is not done in every frame."""
        return {name: 1e3 * float(np.mean(times)) for name, times in self.stages.items()}


@dataclass(frozen=True, slots=True)
class _TimedLinker:
    """Linker that books its time, so that the rest of the pipeline is told apart."""

    inner: Any
    times: StageTimes

    def update(self, *arguments: Any) -> Any:
        return self.times.measure("link", lambda: self.inner.update(*arguments))

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)


def time_stages(
    stream: Iterator[NamedDocument],
    settings: Settings,
    progress: Progress = no_progress,
    frames: int = 1,
) -> tuple[StageTimes, int]:
    """Send a run through the core one frame at a time, as when it comes live.

    Parameters
    ----------
    stream : documents of one run with in-line images, flats before the sample.
    progress : is called after each sample frame. frames : how many there will be, for it.

    Returns
    -------
    The times, and the number of particles in the last frame.
    """
    times = StageTimes()
    device = resolve_device(settings.process.device)
    detector = make_detector(settings.detect, device)
    linker: Any = _TimedLinker(make_linker(settings.link), times)
    pipeline = Pipeline(linker, settings.registration, device)
    state, assembler, corrector = pipeline.init(), assemble.init(settings.assemble), correct.init()
    basis = xanes.make_basis(settings.xanes, load_references(settings.xanes))
    spectra, particles, done = xanes.init(), 0, 0
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
            spectra, rows = times.measure(
                "spectra + maps",
                lambda s=spectra, r=result: xanes.update(s, r, basis, settings.xanes),
            )
            times.measure("documents", lambda r=result, t=rows: _documents(r, t))
            particles, done = len(result.particles), done + 1
            progress("frames", done, frames)
    both, link = times.stages.pop("link + register"), times.stages["link"]
    times.stages["register + align"] = [b - a for a, b in zip(link, both, strict=True)]
    return times, particles


def _documents(result: FrameResult, update: xanes.XanesUpdate) -> list[dict[str, Any]]:
    rows = [data_keys.particle_data(result, particle) for particle in result.particles]
    rows += [data_keys.xanes_data(row) for row in update.spectra]
    rows += [data_keys.xanes_data(item) for item in update.maps]
    shape = (0, 0) if result.aligned is None else result.aligned.shape
    return [*rows, data_keys.frame_data(result, (shape[0], shape[1]), 0.0, Ledger().live(1))]


def _detect(detector: Any, corrected: OpticalDensityFrame, device: torch.device) -> Detections:
    od = torch.from_numpy(corrected.od)[None, None].to(device)
    valid = torch.from_numpy(corrected.valid)[None, None].to(device)
    return detector.detect(od, valid)[0]


def table(figures: dict[str, dict[str, Any]], device: str) -> Table:
    """Lay out median and mean of each stage by case, and their sums.

    Parameters
    ----------
    figures : by case: ``ms`` and ``mean_ms`` by stage.
    """
    stages = list(next(iter(figures.values()))["ms"])
    rows: list[dict[str, str]] = [{"stage": stage} for stage in (*stages, "total")]
    for case, found in figures.items():
        both = [[*found[key].values(), sum(found[key].values())] for key in ("ms", "mean_ms")]
        for row, median, mean in zip(rows, *both, strict=True):
            row[case] = f"{median:.1f} ({mean:.1f})"
    columns = [Column("stage", "stage"), *(Column(case, case) for case in figures)]
    return Table(f"median (mean) ms per frame ({device})", columns, rows)


# The way of one frame through files and functions.


@dataclass(frozen=True, slots=True, kw_only=True)
class FramePath:
    """Way of one frame from its document to the result documents.

    Attributes
    ----------
    files, functions : of this package that it passes. calls : of these functions.
    crossings : calls into another file.
    changes : changes of file: along the sequence of distinct calls (caller, callee) in the order
        in which they first happen, how often the file of the callee is not that of the one before.
    """

    files: int
    functions: int
    calls: int
    crossings: int
    changes: int


def trace_frame() -> FramePath:
    """Follow the eighth frame of the simulated scan of the paper through a warm processor."""
    documents = list(simulate_documents(preset("paper", n_energies=12, seed=0)))
    at = sample_events(documents)[7]
    tracer = _Tracer()
    threading.setprofile(tracer)  # threads that the processor starts are followed too
    try:
        processor = StreamProcessor("sim_txm", timer=lambda: 0.0)
        processor.subscribe(lambda _name, _doc: None)
        for document in documents[:at]:
            processor(*document)
        sys.setprofile(tracer)
        tracer.active = True
        processor(*documents[at])
        tracer.active = False
    finally:
        sys.setprofile(None)
        threading.setprofile(None)
    processor.close()
    return tracer.path()


@dataclass(slots=True)
class _Tracer:
    """Profiler that keeps the calls of functions of this package: caller and callee."""

    calls: list[tuple[CodeType | None, CodeType]] = field(default_factory=list)
    active: bool = False
    _files: dict[str, str | None] = field(default_factory=dict)

    def __call__(self, frame: FrameType, event: str, _argument: Any) -> None:
        if not self.active or event != "call" or not self._own(frame.f_code):
            return
        caller = frame.f_back
        while caller is not None and not self._own(caller.f_code):
            caller = caller.f_back
        self.calls.append((None if caller is None else caller.f_code, frame.f_code))

    def _own(self, code: CodeType) -> bool:
        """Tell whether it is a function of this package; lambdas belong to the one around them."""
        return self.file(code) is not None and not code.co_name.startswith("<")

    def file(self, code: CodeType) -> str | None:
        """Return the real file of a function, None for one of others."""
        name = code.co_filename
        if name not in self._files:
            real = Path(os.path.realpath(name))
            own = not name.startswith("<") and real.is_relative_to(_ROOT)
            inside = str(real.relative_to(_ROOT)) if own else ""
            self._files[name] = inside if own and "site-packages" not in inside else None
        return self._files[name]

    def path(self) -> FramePath:
        distinct = dict.fromkeys(self.calls)
        files = [self.file(callee) for _, callee in distinct]
        return FramePath(
            files=len(set(files)),
            functions=len({callee for _, callee in distinct}),
            calls=len(self.calls),
            crossings=sum(
                caller is not None and self.file(caller) != self.file(callee)
                for caller, callee in self.calls
            ),
            changes=sum(before != after for before, after in pairwise(files)),
        )
