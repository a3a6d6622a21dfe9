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
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray
from rich.table import Table

from .....models.detector import Detections
from ....config import Settings
from ....core import assemble
from ....core.frames import FrameRef, NamedDocument, Role
from ....io.importers import import_documents
from ...evaluate.raw import od_stack
from ..real.nca import FOLDER
from ..real.stxm import present
from .runner import Spent, detect_one, detector_named

Progress = Callable[[str, int, int], None]
_WHOLE, _CUT, _DOUBTFUL = "#D55E00", "#56B4E9", "#F0E442"
_MARGIN = 2


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
    tell = progress or _no_progress
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


def _no_progress(what: str, done: int, of: int) -> None:
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


# Masks over real frames: the last frame of each energy, side by side, one picture a detector.


def save_masks(result: RealResult, folder: Path, dpi: int = 90) -> list[Path]:
    """Write ``masks-<detector>.png`` for each detector; the folder is made if need be."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for name in result.found:
        paths.append(folder / f"masks-{name.replace(':', '.')}.png")
        _draw(result, name).savefig(paths[-1], dpi=dpi)
    return paths


def _draw(result: RealResult, name: str) -> Figure:
    chosen = [int(np.flatnonzero(result.energies == e)[-1]) for e in np.unique(result.energies)]
    figure = Figure(figsize=(9 * len(chosen), 9.6), layout="constrained")
    FigureCanvasAgg(figure)
    axes = np.atleast_1d(figure.subplots(1, len(chosen)))
    for frame, one in zip(chosen, axes, strict=True):
        _frame(one, result, name, frame)
    figure.suptitle(
        f"{name}, {result.spent[name].processor:.0f} ms of one processor per frame; "
        f"red: whole, blue: cut, yellow: score below {result.threshold:g}",
        fontsize=13,
    )
    return figure


def _frame(axes: Axes, result: RealResult, name: str, frame: int) -> None:
    image, found = result.images[frame], result.found[name][frame]
    low, high = np.nanpercentile(image, (2, 99.5))
    axes.imshow(image, cmap="gray", vmin=low, vmax=high)
    sure = result.sure(found)
    for row, (y0, x0, y1, x1) in enumerate(found.bbox):
        colour = (_CUT if found.cut[row] else _WHOLE) if sure[row] else _DOUBTFUL
        # a margin closes the contour, also along the rim of the frame
        mask = np.pad(found.labels[y0:y1, x0:x1] == row + 1, _MARGIN).astype(float)
        y, x = (np.arange(n) - _MARGIN for n in mask.shape)
        axes.contour(x + x0, y + y0, mask, levels=[0.5], colors=colour, linewidths=1.6)
        y, x = found.yx[row]
        axes.text(x, y, str(row + 1), color=colour, fontsize=10, ha="center", va="center")
    whole, counted = result.whole(name)[frame], int(sure.sum())
    axes.set_title(f"{result.energies[frame]:.0f} eV: {whole} whole of {counted}", fontsize=12)
    axes.set_xticks([])
    axes.set_yticks([])


def real_table(result: RealResult) -> Table:
    """Whole particles in each frame, and the time that a frame takes, for a terminal."""
    table = Table(title="whole particles in each real frame (cut ones after +)")
    table.add_column("detector")
    for energy in result.energies:
        table.add_column(f"{energy:.0f} eV", justify="right")
    table.add_column("ms", justify="right")
    table.add_column("ms CPU", justify="right")
    for name, found in result.found.items():
        cells = [
            f"{whole} + {int((result.sure(one) & one.cut).sum())}"
            for whole, one in zip(result.whole(name), found, strict=True)
        ]
        table.add_row(name, *cells, *_spent(result.spent[name]))
    return table


def _spent(time: Spent) -> tuple[str, str]:
    return f"{time.clock:.0f}", f"{time.processor:.0f}"
