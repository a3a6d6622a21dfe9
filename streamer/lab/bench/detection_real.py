"""Detectors on real battery particles at the Ni edge, for which no truth is known.

The frames are those of the bench of real data: three exposures at 8324 eV, below the edge, and
three at the white line. What is told is how many whole particles are found at each energy, and what
the masks look like.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from ....models.detector import Detections
from ...config import Settings
from ...core import assemble
from ...core.frames import FrameRef, NamedDocument, Role
from ...io.importers import import_documents
from ..evaluate.similarity import od_stack
from .detection import Spent, detect_one, detector_named
from .harness import Column, Progress, Table, new_figure, no_progress, show_image
from .real_nca import FOLDER
from .real_stack import present

_WHOLE, _CUT, _DOUBTFUL = "#D55E00", "#56B4E9", "#F0E442"
_MARGIN = 2  # px around a mask, so that its contour is closed along the rim of the frame


@dataclass(frozen=True, slots=True, kw_only=True)
class RealResult:
    """Detections in all frames by detector.

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
        """Count the particles in each of the F frames that are sure and not cut."""
        one = self.found[detector]
        return np.array([int((self.sure(d) & ~d.cut).sum()) for d in one], dtype=np.int64)

    def sure(self, detections: Detections) -> NDArray[np.bool_]:
        """Tell which of the N detections count, bool."""
        return detections.score >= self.threshold

    def summary(self) -> dict[str, Any]:
        """Return plain numbers, for JSON."""
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
    data: Path, detectors: Sequence[str], settings: Settings, progress: Progress = no_progress
) -> RealResult:
    """Import the frames, correct them as when they come live, and detect in each.

    Parameters
    ----------
    data : the folder of the real data. detectors : names, see `usable_detectors`.
    settings : of the processor, those of the beamline.

    Raises
    ------
    ImportDataError
        If the data are not there.
    """
    present(data, FOLDER)
    stream = import_documents(data / FOLDER, progress=lambda n, of: progress("reading", n, of))
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
            progress(name, number + 1, len(images))
        found[name] = tuple(one for one, _ in timed)
        times[name] = Spent.median([spent for _, spent in timed])
    return RealResult(
        energies=_energies(raw, settings),
        images=images,
        threshold=settings.link.min_score,
        found=found,
        spent=times,
    )


def _energies(raw: Sequence[NamedDocument], settings: Settings) -> NDArray[np.float64]:
    """Read the energies (F,) of the sample images in their order, eV."""
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


# Masks over real frames: the last frame of each energy, side by side, one picture a detector.


def save_masks(result: RealResult, folder: Path) -> list[Path]:
    """Write ``masks-<detector>.png`` for each detector; the folder is made if need be."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for name in result.found:
        paths.append(folder / f"masks-{name.replace(':', '.')}.png")
        _draw(result, name).savefig(paths[-1])
    return paths


def _draw(result: RealResult, name: str) -> Figure:
    chosen = [int(np.flatnonzero(result.energies == e)[-1]) for e in np.unique(result.energies)]
    title = (
        f"{name}, {result.spent[name].processor:.0f} ms of one processor per frame; "
        f"red: whole, blue: cut, yellow: score below {result.threshold:g}"
    )
    figure = new_figure(9 * len(chosen), 9.6, title, dpi=90)
    axes = np.atleast_1d(figure.subplots(1, len(chosen)))
    for frame, one in zip(chosen, axes, strict=True):
        _frame(one, result, name, frame)
    return figure


def _frame(axes: Axes, result: RealResult, name: str, frame: int) -> None:
    found = result.found[name][frame]
    sure = result.sure(found)
    title = f"{result.energies[frame]:.0f} eV: {result.whole(name)[frame]} whole of {sure.sum()}"
    show_image(axes, result.images[frame], title, size=12)
    for row, (y0, x0, y1, x1) in enumerate(found.bbox):
        colour = (_CUT if found.cut[row] else _WHOLE) if sure[row] else _DOUBTFUL
        # a margin closes the contour, also along the rim of the frame
        mask = np.pad(found.labels[y0:y1, x0:x1] == row + 1, _MARGIN).astype(float)
        y, x = (np.arange(n) - _MARGIN for n in mask.shape)
        axes.contour(x + x0, y + y0, mask, levels=[0.5], colors=colour, linewidths=1.6)
        y, x = found.yx[row]
        axes.text(x, y, str(row + 1), color=colour, fontsize=10, ha="center", va="center")


def real_table(result: RealResult) -> Table:
    """Lay out whole particles in each frame, and the time that a frame takes."""
    columns = [Column("detector", "detector")]
    columns += [Column(str(n), f"{energy:.0f} eV") for n, energy in enumerate(result.energies)]
    columns += [Column("clock", "ms", ".0f"), Column("processor", "ms CPU", ".0f")]
    rows = []
    for name, found in result.found.items():
        row: dict[str, Any] = {"detector": name, "clock": result.spent[name].clock}
        row["processor"] = result.spent[name].processor
        for n, (whole, one) in enumerate(zip(result.whole(name), found, strict=True)):
            row[str(n)] = f"{whole} + {int((result.sure(one) & one.cut).sum())}"
        rows.append(row)
    return Table("whole particles in each real frame (cut ones after +)", columns, rows)
