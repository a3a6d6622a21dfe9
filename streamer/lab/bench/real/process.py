"""Documents through the real processor, results as tables."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from .....callbacks.processor.processor import StreamProcessor
from ....config import Settings, load_settings
from ....core.frames import Document, NamedDocument, Role
from ....errors import FrameError
from ....io.importers.documents import Progress, documents
from ....io.importers.plan import Exposure, ImportPlan
from .stxm import EnergyStack

_PERIOD_S = 60.0
_IMAGES = ("roi", "aligned")


@dataclass(frozen=True, slots=True, kw_only=True)
class Tables:
    """Rows of the streams ``particles`` and ``frames`` of a result run, without images."""

    particles: pd.DataFrame
    frames: pd.DataFrame


def stack_documents(
    stack: EnergyStack, progress: Progress | None = None
) -> Iterator[NamedDocument]:
    """Yield an energy stack as a Bluesky run: per energy its flat, then its image, in-line.

    Parameters
    ----------
    progress : called with (images done, images in all).
    """
    shape = stack.counts.shape
    flats = np.broadcast_to(stack.incident[:, None, None].astype(np.float32), shape)
    shots = [
        Exposure(
            role=role,
            energy=float(energy),
            exposure=None,
            time=frame * _PERIOD_S,
            source=Path("stack"),
            read=lambda image=images[frame]: np.ascontiguousarray(image),
        )
        for frame, energy in enumerate(stack.energies)
        for role, images in ((Role.FLAT, flats), (Role.SAMPLE, stack.counts))
    ]
    identity = f"{shape}:{stack.motion.tobytes().hex()}"
    plan = ImportPlan(importer="stack", identity=identity, sample="stack", shots=tuple(shots))
    yield from documents(plan, progress=progress)


def result_tables(
    stream: Iterable[NamedDocument],
    settings: Settings,
    also: Callable[[str, Document], None] | None = None,
) -> Tables:
    """Process the documents of a run one by one, as when they come live.

    Parameters
    ----------
    also : gets every document of the raw run as well.

    Raises
    ------
    FrameError
        If no particle was found in any frame.
    """
    rows: dict[str, list[Document]] = {"particles": [], "frames": []}
    streams: dict[str, str] = {}

    def take(name: str, doc: dict[str, Any]) -> None:
        if name == "descriptor":
            streams[doc["uid"]] = doc["name"]
        elif name == "event" and streams[doc["descriptor"]] in rows:
            kept = {key: value for key, value in doc["data"].items() if key not in _IMAGES}
            rows[streams[doc["descriptor"]]].append(kept)

    processor = StreamProcessor(settings)
    processor.subscribe(take)
    for name, doc in stream:
        if also is not None:
            also(name, doc)
        processor(name, doc)
    processor.close()
    if not rows["particles"]:
        raise FrameError(f"no particle in {len(rows['frames'])} frames; see the detector settings")
    return Tables(particles=pd.DataFrame(rows["particles"]), frames=pd.DataFrame(rows["frames"]))


# Settings of the processor for the measured stack of the benchmark.


def stxm_settings(device: str | None = None) -> Settings:
    """Settings for 125 x 125 px of vent particles at 80 nm/px, chosen by looking at the images.

    Two things in the field have a closed rim: a ball of 1 um that holds no iron and a sphere of
    2 um in touch with an aggregate. Around them lie clouds of iron, which become the densest of
    the background at the edge: hence the low thresholds.
    """
    overrides = {
        "profile": "bench_stxm",
        # counted photons: no dark, no camera whose rim were bad
        "correct": {"rim": 0},
        "detect": {
            "min_diameter_px": 10,
            "max_diameter_px": 40,
            "background_px": 24,
            "snr": 2.0,
            "min_relative_contrast": 0.02,
        },
        # the field is too small for the jumps of a stage that travels
        "link": {"max_jump_px": 12, "coast_frames": 20},
    }
    if device:
        overrides["process"] = {"device": device}
    return load_settings(None, overrides)
