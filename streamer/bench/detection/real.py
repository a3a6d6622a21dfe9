"""Detectors on real battery particles at the Ni edge, for which no truth is known.

The frames are those of the bench of real data: three exposures at 8324 eV, below the edge, and
three at the white line. What is told is how many whole particles are found at each energy, and what
the masks look like.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ....models.detections import Detections
from ... import assemble
from ...config import Settings
from ...evaluate.raw import od_stack
from ...frames import FrameRef, NamedDocument, Role
from ...importers import import_documents
from ..real.nca import FOLDER
from ..real.stxm import present
from .detectors import Spent, detect_one, detector_named

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class RealResult:
    """What the detectors found.

    Attributes
    ----------
    energies : (F,) float64, eV. images : (F, H, W) float32, optical density, NaN where invalid.
    threshold : score from which a detection counts.
    found : of each detector, one for each frame. spent : median time of each.
    """

    energies: NDArray[np.float64]
    images: NDArray[np.float32]
    threshold: float
    found: Mapping[str, tuple[Detections, ...]]
    spent: Mapping[str, Spent]

    def whole(self, detector: str) -> NDArray[np.int64]:
        """(F,) particles that count and are not cut."""
        one = self.found[detector]
        return np.array([int((self.sure(d) & ~d.cut).sum()) for d in one], dtype=np.int64)

    def sure(self, detections: Detections) -> NDArray[np.bool_]:
        """(N,) bool, which detections count."""
        return detections.score >= self.threshold

    def summary(self) -> dict[str, Any]:
        """Plain numbers, for JSON."""
        return {
            "energies": self.energies.tolist(),
            "threshold": self.threshold,
            "detectors": {
                name: {
                    "whole": self.whole(name).tolist(),
                    "detected": [int(self.sure(d).sum()) for d in found],
                    "frame_ms": self.spent[name].clock,
                    "cpu_ms": self.spent[name].processor,
                }
                for name, found in self.found.items()
            },
        }


def detect_real(
    data: Path,
    detectors: Sequence[str],
    settings: Settings,
    progress: Progress | None = None,
) -> RealResult:
    """Import the frames, correct them as when they come live, and detect in each.

    Parameters
    ----------
    data : the folder of the real data. detectors : names, see `usable_detectors`.
    settings : of the processor, those of the beamline.
    progress : called with what is done, and how many of how many steps.

    Raises
    ------
    ImportDataError
        If the data are not there.
    """
    present(data, FOLDER)
    tell = progress or _silent
    stream = import_documents(data / FOLDER, progress=lambda n, of: tell("reading", n, of))
    raw: list[NamedDocument] = list(stream)
    images = od_stack(raw, settings)
    found: dict[str, tuple[Detections, ...]] = {}
    times: dict[str, Spent] = {}
    for name in detectors:
        detector = detector_named(name, settings.detect, settings)
        detect_one(detector, images[0])  # what is set up at the first frame is not timed
        timed = []
        for number, image in enumerate(images):
            timed.append(detect_one(detector, image))
            tell(name, number + 1, len(images))
        found[name] = tuple(one for one, _ in timed)
        times[name] = Spent.median([spent for _, spent in timed])
    return RealResult(
        energies=_energies(raw, settings),
        images=images,
        threshold=settings.link.min_score,
        found=found,
        spent=times,
    )


def _silent(what: str, done: int, of: int) -> None:
    """Tell nobody."""


def _energies(raw: Sequence[NamedDocument], settings: Settings) -> NDArray[np.float64]:
    """(F,) eV, of the sample images in their order."""
    assembler = assemble.init(settings.assemble)
    energies: list[float] = []
    for name, doc in raw:
        assembler, outputs = assemble.update(assembler, name, doc)
        energies += [
            float("nan") if one.energy is None else one.energy
            for one in outputs
            if isinstance(one, FrameRef) and one.role is Role.SAMPLE
        ]
    return np.array(energies, dtype=np.float64)
