"""An import plan as the documents of one Bluesky run, one image at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import NAMESPACE_URL, uuid5

import numpy as np
from numpy.typing import NDArray

from ...core.frames import Document, NamedDocument, Role
from ...errors import ImportDataError
from .plan import Exposure, ImportPlan, Skipped

STREAMS: Mapping[Role, str] = {Role.DARK: "dark", Role.SAMPLE: "primary", Role.FLAT: "flat"}
IMAGE_KEY, ENERGY_KEY, EXPOSURE_KEY = "camera_image", "energy", "camera_exposure_time"
Progress = Callable[[int, int], None]


@dataclass(slots=True, kw_only=True)
class Tally:
    """Account of the shots; filled while the documents are taken."""

    skipped: list[Skipped] = field(default_factory=list)
    files: set[str] = field(default_factory=set)
    images: dict[str, int] = field(default_factory=dict)
    energies: set[float] = field(default_factory=set)


def run_uid(plan: ImportPlan) -> str:
    """Return the uid of the run, the same whenever the same data are imported."""
    return str(uuid5(NAMESPACE_URL, f"operando:{plan.importer}:{plan.identity}"))


def documents(
    plan: ImportPlan, *, tally: Tally | None = None, progress: Progress | None = None
) -> Iterator[NamedDocument]:
    """Yield start, descriptors, events with in-line images, and stop.

    Parameters
    ----------
    plan : what the importer found.
    tally : is told what became of each shot.
    progress : called with (shots done, shots in all).

    Raises
    ------
    ImportDataError
        If no sample image at all can be read.
    """
    run = _Run(plan=plan, tally=tally if tally is not None else Tally())
    run.tally.skipped.extend(plan.skipped)
    yield "start", run.start()
    for number, shot in enumerate(plan.shots, start=1):
        yield from run.shot(shot)
        if progress is not None:
            progress(number, len(plan.shots))
    if not run.tally.images.get(STREAMS[Role.SAMPLE]):
        raise ImportDataError(
            f"no sample image could be read; the first reason: {run.tally.skipped[0].reason}"
            if run.tally.skipped
            else "there are no sample images"
        )
    yield "stop", run.stop()


@dataclass(slots=True, kw_only=True)
class _Run:
    plan: ImportPlan
    tally: Tally
    shape: tuple[int, int] | None = None
    descriptors: dict[Role, str] = field(default_factory=dict)
    last_time: float = 0.0

    def uid(self, *name: object) -> str:
        return str(uuid5(NAMESPACE_URL, f"{run_uid(self.plan)}:{name}"))

    def start(self) -> Document:
        self.last_time = self.plan.shots[0].time if self.plan.shots else 0.0
        return {
            "uid": run_uid(self.plan),
            "time": self.last_time,
            "scan_id": 1,
            "plan_name": f"import_{self.plan.importer}",
            "plan_type": "generator",
            "detectors": ["camera"],
            "motors": ["energy"],
            "sample": self.plan.sample,
            "hints": {"dimensions": [[[ENERGY_KEY], STREAMS[Role.SAMPLE]]]},
            **self.plan.metadata,
        }

    def shot(self, shot: Exposure) -> Iterator[NamedDocument]:
        try:
            image = self.checked(shot.read(), shot)
        except ImportDataError as error:
            self.tally.skipped.append(Skipped(path=shot.source, reason=str(error)))
            return
        stream = STREAMS[shot.role]
        if shot.role not in self.descriptors:
            doc = self.descriptor(shot, image)
            self.descriptors[shot.role] = doc["uid"]
            yield "descriptor", doc
        self.tally.files.add(str(shot.source))
        self.tally.images[stream] = self.tally.images.get(stream, 0) + 1
        if shot.role is Role.SAMPLE and shot.energy is not None:
            self.tally.energies.add(shot.energy)
        yield "event", self.event(shot, image)

    def checked(self, image: NDArray[Any], shot: Exposure) -> NDArray[Any]:
        if image.ndim != 2:
            raise ImportDataError(f"{shot.source}: wanted an image (H, W), got {image.shape}")
        shape = (image.shape[0], image.shape[1])
        if self.shape is not None and shape != self.shape:
            raise ImportDataError(
                f"{shot.source}: image {shape} differs from the images before it, {self.shape}"
            )
        self.shape = shape
        return image

    def descriptor(self, shot: Exposure, image: NDArray[Any]) -> Document:
        data_keys = {name: spec for name, (_, spec) in _values(shot, image).items()}
        stream = STREAMS[shot.role]
        return {
            "uid": self.uid("descriptor", stream),
            "run_start": run_uid(self.plan),
            "time": shot.time,
            "name": stream,
            "data_keys": data_keys,
            "object_keys": {
                "camera": [name for name in data_keys if name != ENERGY_KEY],
                "energy": [name for name in data_keys if name == ENERGY_KEY],
            },
            "configuration": {},
            "hints": {"camera": {"fields": [IMAGE_KEY]}},
        }

    def event(self, shot: Exposure, image: NDArray[Any]) -> Document:
        stream = STREAMS[shot.role]
        seq_num = self.tally.images[stream]
        data = {name: value for name, (value, _) in _values(shot, image).items()}
        self.last_time = max(self.last_time, shot.time)
        return {
            "uid": self.uid("event", stream, seq_num),
            "descriptor": self.descriptors[shot.role],
            "time": shot.time,
            "seq_num": seq_num,
            "data": data,
            "timestamps": dict.fromkeys(data, shot.time),
            "filled": {},
        }

    def stop(self) -> Document:
        return {
            "uid": self.uid("stop"),
            "run_start": run_uid(self.plan),
            "time": self.last_time,
            "exit_status": "success",
            "reason": "",
            "num_events": dict(self.tally.images),
        }


def _values(shot: Exposure, image: NDArray[Any]) -> dict[str, tuple[Any, Document]]:
    """Return value and data key of all that an event of this shot holds."""
    found: dict[str, tuple[Any, Document]] = {
        IMAGE_KEY: (
            image,
            {
                "source": f"file:{shot.source.suffix.lstrip('.')}",
                "dtype": "array",
                "dtype_numpy": np.dtype(image.dtype).str,
                "shape": list(image.shape),
                "units": "counts",
                "object_name": "camera",
            },
        )
    }
    for name, value, units, owner in (
        (ENERGY_KEY, shot.energy, "eV", "energy"),
        (EXPOSURE_KEY, shot.exposure, "s", "camera"),
    ):
        if value is not None:
            spec = {
                "source": f"file:{name}",
                "dtype": "number",
                "dtype_numpy": "<f8",
                "shape": [],
                "units": units,
                "object_name": owner,
            }
            found[name] = (float(value), spec)
    return found
