"""Masks over real frames: the last frame of each energy, side by side, one picture a detector."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from rich.table import Table

from .detectors import Spent
from .real import RealResult

_WHOLE, _CUT, _DOUBTFUL = "#D55E00", "#56B4E9", "#F0E442"
_MARGIN = 2


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
