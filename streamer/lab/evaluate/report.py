"""Picture of an alignment: arrays and tables in, a matplotlib figure out."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import ArrayLike, NDArray

from ....models.arrays import Array
from ..simulate.truth import Truth
from .accuracy import Score
from .matching import MEASURED, of_revision, where

_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#999933")
_MEAN_FRAMES = 60
_TABLE_ROWS = 12
_SHORT_TRACK = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportData:
    """Content of the picture.

    Attributes
    ----------
    raw : (F, H, W) optical density before alignment; anything that numpy can slice.
    aligned : (F, H, W) optical density after alignment, NaN where unknown.
    particles : rows of the ``particles`` stream.
    truth : of the same run, if it is known.
    score : of the same run, if it is known.
    title : heading.
    """

    raw: ArrayLike
    aligned: ArrayLike
    particles: pd.DataFrame
    truth: Truth | None = None
    score: Score | None = None
    title: str = ""


def save_report(data: ReportData, path: str | Path, dpi: int = 110) -> Path:
    """Draw the picture and write it; the suffix of `path` decides the format."""
    path = Path(path)
    draw_report(data).savefig(path, dpi=dpi)
    return path


def draw_report(data: ReportData) -> Figure:
    """Draw means, kymographs, trajectories, a differential map and a table of errors.

    Parameters
    ----------
    data : see :class:`ReportData`; `raw` and `aligned` are only sliced, never read whole.

    Raises
    ------
    ValueError
        If the stacks differ in shape, or no particle was measured.
    """
    raw, aligned = _stack(data.raw), _stack(data.aligned)
    if raw.shape[1:] != aligned.shape[1:]:
        raise ValueError(f"raw frames are {raw.shape[1:]}, aligned ones {aligned.shape[1:]}")
    rows = _newest(data.particles)
    chosen = where(rows, rows["particle"] == _best_particle(rows))
    figure = Figure(figsize=(16, 12.5), layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(data.title or "Before and after alignment", fontsize=15)
    grid = figure.add_gridspec(3, 4, height_ratios=(1, 1, 0.75))
    axes = [figure.add_subplot(grid[i, j]) for i in range(2) for j in range(4)]
    _draw_means(axes[0], axes[1], raw, aligned)
    _draw_kymographs(axes[2], axes[3], raw, aligned, chosen)
    _draw_trajectories(axes[4], rows, data)
    _draw_errors(axes[5], rows, data.score)
    _draw_difference(axes[6], axes[7], raw, aligned, chosen)
    _draw_table(figure.add_subplot(grid[2, :]), rows, data.score)
    return figure


def _stack(images: ArrayLike) -> NDArray[np.float32]:
    """View as an array; files and memory maps are not read."""
    return images if hasattr(images, "shape") else np.asarray(images)  # type: ignore[return-value]


def _newest(particles: pd.DataFrame) -> pd.DataFrame:
    rows = of_revision(particles, "highest")
    rows = where(rows, rows["state"].isin(MEASURED))
    if rows.empty:
        raise ValueError("the particles table holds no measured position")
    return rows.sort_values(by=["particle", "frame"])


def _best_particle(rows: pd.DataFrame) -> int:
    """Choose the largest among the particles that were measured most often."""
    size = rows["area"] if "area" in rows else pd.Series(1.0, index=rows.index)
    groups = rows.assign(size=size).groupby("particle")["size"]
    count, median = groups.count(), groups.median()
    median[count < 0.9 * count.max()] = -1.0
    names = median.index.to_numpy(np.int64)
    return int(names[np.argmax(median.to_numpy())])


def _image(axes: Axes, image: Array, title: str, **options: Any) -> None:
    shown = axes.imshow(image, interpolation="nearest", **options)
    axes.set_title(title, fontsize=11)
    axes.set_xticks([])
    axes.set_yticks([])
    bar = axes.figure.colorbar(shown, ax=axes, fraction=0.045, pad=0.02)
    bar.ax.tick_params(labelsize=8)


def _range(image: Array) -> dict[str, float]:
    low, high = np.nanpercentile(image, (1, 99.7))
    return {"vmin": float(low), "vmax": float(max(high, low + 1e-6))}


def _mean(stack: NDArray[np.float32]) -> Array:
    frames = np.unique(np.linspace(0, len(stack) - 1, _MEAN_FRAMES).astype(int))
    total = np.zeros(stack.shape[1:])
    count = np.zeros(stack.shape[1:])
    for frame in frames:
        image = np.asarray(stack[int(frame)], dtype=np.float64)
        known = np.isfinite(image)
        total += np.where(known, image, 0.0)
        count += known
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def _draw_means(
    left: Axes, right: Axes, raw: NDArray[np.float32], aligned: NDArray[np.float32]
) -> None:
    before, after = _mean(raw), _mean(aligned)
    scale = _range(after)
    _image(left, before, "mean of all frames, raw", cmap="gray", **scale)
    _image(right, after, "mean of all frames, aligned", cmap="gray", **scale)


def _draw_kymographs(
    left: Axes,
    right: Axes,
    raw: NDArray[np.float32],
    aligned: NDArray[np.float32],
    rows: pd.DataFrame,
) -> None:
    y, x, half = _window(rows, raw.shape[1:])
    low, high = max(y - half, 0), min(y + half, raw.shape[1])
    column = min(max(x, 0), raw.shape[2] - 1)
    pictures = [
        np.stack([np.asarray(stack[k][low:high, column], dtype=float) for k in range(len(stack))])
        for stack in (raw, aligned)
    ]
    scale = _range(pictures[1])
    for axes, picture, name in zip((left, right), pictures, ("raw", "aligned"), strict=True):
        title = f"rows through particle {rows['particle'].iloc[0]} over time, {name}"
        _image(axes, picture.T, title, cmap="magma", aspect="auto", **scale)
        axes.set_xlabel("frame", fontsize=9)


def _window(rows: pd.DataFrame, shape: tuple[int, ...]) -> tuple[int, int, int]:
    first = rows.iloc[0]
    area = float(rows["area"].median()) if "area" in rows else 0.04 * shape[0] * shape[1]
    half = int(1.5 * np.sqrt(max(area, 64.0) / np.pi)) + 6
    return round(first["y"]), round(first["x"]), half


def _draw_trajectories(axes: Axes, rows: pd.DataFrame, data: ReportData) -> None:
    """Draw the motion of each particle relative to all others, where deformation shows."""
    magnify = 12.0
    common = _common_path(rows)
    groups = [mine for _, mine in rows.groupby("particle")]
    longest = max(len(mine) for mine in groups)
    for number, mine in enumerate(g for g in groups if len(g) >= _SHORT_TRACK * longest):
        found = mine[["y", "x"]].to_numpy(float)
        start, shared = found[0], common[mine["frame"].to_numpy()]
        true = _true_path(mine, data)
        paths = [(found, {"color": _COLOURS[number % len(_COLOURS)], "lw": 0.8, "label": "found"})]
        if true is not None:
            paths.append((true, {"color": "black", "lw": 1.0, "ls": ":", "label": "truth"}))
        for path, style in paths:
            own = path - path[0] - (shared - shared[0])
            if number:
                style["label"] = None
            axes.plot(*(start + magnify * own).T[::-1], **style)
        axes.plot(*start[::-1], "o", color=_COLOURS[number % len(_COLOURS)], ms=4)
    height, width = _stack(data.raw).shape[1:]
    axes.set_xlim(0, width)
    axes.set_ylim(height, 0)
    axes.set_aspect("equal")
    axes.set_title(f"motion relative to all others, x {magnify:.0f}", fontsize=11)
    axes.legend(fontsize=8, loc="upper right")
    axes.tick_params(labelsize=8)


def _common_path(rows: pd.DataFrame) -> Array:
    """Estimate the motion (y, x) that most particles share, by frame: the sum of median steps."""
    wide = rows.pivot(index="frame", columns="particle", values=["y", "x"])
    steps = wide.diff().T.groupby(level=0).median().T[["y", "x"]].fillna(0.0)
    path = steps.cumsum().reindex(range(int(rows["frame"].max()) + 1)).ffill().fillna(0.0)
    return path.to_numpy(np.float64)


def _true_path(rows: pd.DataFrame, data: ReportData) -> Array | None:
    if data.truth is None or data.score is None:
        return None
    errors = data.score.errors
    owners = errors.loc[errors["particle"] == rows["particle"].iloc[0], "truth"]
    if owners.empty:
        return None
    return data.truth.yx[rows["frame"].to_numpy(), int(owners.mode().iloc[0])]


def _draw_errors(axes: Axes, rows: pd.DataFrame, score: Score | None) -> None:
    """Draw the error over energy if the truth is known, else the displacement over time."""
    axes.tick_params(labelsize=8)
    if score is None or score.errors.empty:
        for number, (particle, mine) in enumerate(rows.groupby("particle")):
            start = mine.iloc[0]
            distance = np.hypot(mine["y"] - start["y"], mine["x"] - start["x"])
            colour = _COLOURS[number % len(_COLOURS)]
            axes.plot(mine["frame"], distance, color=colour, lw=0.9, label=str(particle))
        axes.set_title("distance from the first position, px", fontsize=11)
        axes.set_xlabel("frame", fontsize=9)
        return
    errors = score.errors.assign(distance=np.hypot(score.errors["dy"], score.errors["dx"]))
    axes.plot(errors["energy"], errors["distance"], ".", ms=2, color="0.7", label="each position")
    rms = errors.groupby("energy")["distance"].apply(lambda d: float(np.sqrt((d**2).mean())))
    axes.plot(rms.index, rms, color=_COLOURS[1], lw=1.2, label="rms of all particles")
    axes.set_ylim(0, max(2.5 * float(rms.max()), 0.1))
    axes.set_title(f"position error, px (rms {score.overall.rms:.2f})", fontsize=11)
    axes.set_xlabel("energy, eV", fontsize=9)
    axes.legend(fontsize=8)


def _draw_difference(
    left: Axes,
    right: Axes,
    raw: NDArray[np.float32],
    aligned: NDArray[np.float32],
    rows: pd.DataFrame,
) -> None:
    y, x, half = _window(rows, raw.shape[1:])
    view = slice(max(y - half, 0), y + half), slice(max(x - half, 0), x + half)
    first, last = _pair(rows)
    energies = rows.set_index("frame")["energy"] if "energy" in rows else None
    label = "" if energies is None else f", {energies[first]:.0f} and {energies[last]:.0f} eV"
    before, after = (
        np.asarray(stack[first], dtype=float)[view] - np.asarray(stack[last], dtype=float)[view]
        for stack in (raw, aligned)
    )
    reach = float(np.nanpercentile(np.abs(before), 99.5))
    scale: dict[str, Any] = {"vmin": -reach, "vmax": reach, "cmap": "RdBu_r"}
    _image(left, before, f"frame {first} minus {last}, raw", **scale)
    _image(right, after, f"the same, aligned{label}", **scale)


def _pair(rows: pd.DataFrame) -> tuple[int, int]:
    """Choose the last frame, and the first of those before it that have the same contrast."""
    frames = rows["frame"].to_numpy(np.int64)
    if "od_mean" not in rows:
        return int(frames[0]), int(frames[-1])
    od = rows["od_mean"].to_numpy(np.float64)
    other = np.flatnonzero(np.abs(od - od[-1]) > 0.15 * abs(od[-1]))
    first = min(int(other[-1]) + 1 if other.size else 0, max(len(frames) - 2, 0))
    return int(frames[first]), int(frames[-1])


def _draw_table(axes: Axes, rows: pd.DataFrame, score: Score | None) -> None:
    axes.axis("off")
    table = _score_rows(score) if score is not None else _plain_rows(rows)
    shown = table.head(_TABLE_ROWS)
    drawn = axes.table(
        cellText=shown.to_numpy().tolist(),
        colLabels=list(shown.columns),
        loc="center",
        cellLoc="center",
    )
    drawn.auto_set_font_size(False)
    drawn.set_fontsize(9)
    drawn.scale(1, 1.25)
    if len(table) > len(shown):
        axes.set_title(f"{len(shown)} of {len(table)} particles", fontsize=10)


def _score_rows(score: Score) -> pd.DataFrame:
    table = score.particles
    text = pd.DataFrame(
        {
            "particle": table["particles"].map(lambda ids: ", ".join(map(str, ids)) or "-"),
            "radius, px": table["radius"].map("{:.0f}".format),
            "recall": table["recall"].map("{:.3f}".format),
            "rms, px": table["rms"].map("{:.3f}".format),
            "median, px": table["median"].map("{:.3f}".format),
            "95 %, px": table["p95"].map("{:.3f}".format),
            "rms with offset, px": table["raw_rms"].map("{:.3f}".format),
            "step over the edge, px": table["step"].map("{:.3f}".format),
            "switches": table["switches"].astype(str),
        }
    )
    total = score.overall
    text.loc[len(text)] = [
        "all",
        "",
        f"{score.recall:.3f}",
        f"{total.rms:.3f}",
        f"{total.median:.3f}",
        f"{total.p95:.3f}",
        f"{score.raw.rms:.3f}",
        f"{score.step:.3f}",
        str(score.switches),
    ]
    return text.iloc[[len(text) - 1, *range(len(text) - 1)]]


def _plain_rows(rows: pd.DataFrame) -> pd.DataFrame:
    groups = rows.groupby("particle")
    return pd.DataFrame(
        {
            "particle": [str(name) for name, _ in groups],
            "frames": groups.size().astype(str).to_numpy(),
            "y, px": groups["y"].first().map("{:.1f}".format).to_numpy(),
            "x, px": groups["x"].first().map("{:.1f}".format).to_numpy(),
        }
    )
