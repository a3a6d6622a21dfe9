"""Battery particles at the Ni edge: repeats that must agree, and a known magnification.

LiNi0.8Co0.15Al0.05O2 at SSRL 6-2c: three exposures at 8324 eV (below the edge) and three at
8354 eV (white line), with their flats. Between repeats nothing moves but the stage, by 0.3 px at
most. Between the energies the zone plate's magnification changes: 0.9969 +- 0.001, measured by
phase correlation and StackReg of the rims; 8324/8354 = 0.9964 is what a zone plate gives.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from ....models.arrays import Array
from ....models.detector import make_detector
from ....models.device import resolve_device
from ...config import Settings
from ...core.frames import NamedDocument
from ...errors import FrameError
from ...io.importers import import_documents
from ..evaluate.matching import MEASURED, of_revision, where
from ..evaluate.similarity import od_stack
from .detection import detect_one
from .harness import Column, Progress, ResultRows, Table, new_figure, no_progress, plain, show_image
from .real_stack import present, process_found
from .ruler import SimilarityTransform, fit_similarity, follow_edges

FOLDER, PROFILE = Path("txm-ssrl-nca"), "ssrl_6_2c"
NCA_BELOW_EV, NCA_ABOVE_EV = 8324.0, 8354.0
MAGNIFICATION, MAGNIFICATION_TOLERANCE = 0.9969, 0.001  # measured, see above
REPEAT_PX = 0.3  # measured: the stage comes back to this


@dataclass(frozen=True, slots=True, kw_only=True)
class Repeats:
    """Two exposures at one energy; lengths in the plane, px.

    Attributes
    ----------
    frames : the two frames. particles : how many were measured in both.
    shift : (2,) float64, their common motion.
    median, rms, largest : of what is left of each particle's.
    """

    energy: float
    frames: tuple[int, int]
    particles: int
    shift: Array
    median: float
    rms: float
    largest: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """Repeats and magnification by some positions.

    Attributes
    ----------
    repeats : every pair of exposures at one energy.
    similarity : from 8324 to 8354 eV, of the mean positions.
    """

    repeats: tuple[Repeats, ...]
    similarity: SimilarityTransform

    def summary(self) -> dict[str, Any]:
        """Return plain numbers, for JSON."""
        fit = asdict(self.similarity) | {"residuals": np.hypot(*self.similarity.residuals.T)}
        return plain({"repeats": self.repeats, "similarity": fit})


@dataclass(frozen=True, slots=True, kw_only=True)
class NcaResult:
    """Positions of ours and of the edges, and what they say.

    Attributes
    ----------
    ids : (P,) int64, particles that were tracked.
    positions : (F, P, 2) float64, px, NaN where not measured. sigma : (F, P, 2) float64, px, as
        reported with them.
    fitted : (F, P) bool, matched with a template; else the centre of mass of a mask.
    whole : (P,) bool, not cut by the rim of any frame.
    energies : (F,) float64, eV. images : (F, H, W) float32, optical density.
    ours : of the whole particles. edges : the same by the correlation of their edges.
    edge_positions : (F, P, 2) float64, px, by the edges; NaN for particles that are not whole.
    """

    ids: NDArray[np.int64]
    positions: Array
    sigma: Array
    fitted: NDArray[np.bool_]
    whole: NDArray[np.bool_]
    energies: Array
    images: NDArray[np.float32]
    ours: Agreement
    edges: Agreement
    edge_positions: Array

    @property
    def apart(self) -> Array:
        """Compare our motion since the first frame with that of the edges, (F, P) float64, px."""
        steps = [p - p[0] for p in (self.positions, self.edge_positions)]
        return np.hypot(*(steps[0] - steps[1]).transpose(2, 0, 1))

    def summary(self) -> dict[str, Any]:
        """Return plain numbers, for JSON."""
        return {
            "particles": len(self.ids),
            "whole": self.ids[self.whole].tolist(),
            "fitted": {
                int(particle): np.flatnonzero(frames).tolist()
                for particle, frames in zip(self.ids, self.fitted.T, strict=True)
            },
            "ours": self.ours.summary(),
            "edges": self.edges.summary(),
            "apart": plain(self.apart),
            "magnification": MAGNIFICATION,
        }


def measure_nca(data: Path, settings: Settings, progress: Progress = no_progress) -> NcaResult:
    """Import the files, process them as when they come live, and compare.

    Parameters
    ----------
    data : the folder of the real data. settings : of the processor, those of the beamline.

    Raises
    ------
    ImportDataError
        If the data are not there.
    FrameError
        If fewer than three whole particles were followed over the edge.
    """
    present(data, FOLDER)
    raw: list[NamedDocument] = []

    def kept(documents: Iterator[NamedDocument]) -> Iterator[NamedDocument]:
        for document in documents:
            raw.append(document)
            yield document

    stream = import_documents(data / FOLDER, progress=lambda n, of: progress("processing", n, of))
    results = process_found(kept(stream), settings)
    seen = _seen(results)
    ids, positions = seen.ids, seen.positions
    energies = results.table("frames").groupby("frame")["energy"].first().to_numpy(np.float64)
    images = od_stack(raw, settings)
    whole = _whole(np.where(seen.masked[..., None], positions, np.nan), images, settings)
    start = np.where(whole[:, None], positions[0], np.nan)
    edges = follow_edges(images, start, seen.radius, _common(positions, whole), progress)
    return NcaResult(
        ids=ids,
        positions=positions,
        sigma=seen.sigma,
        fitted=seen.fitted,
        whole=whole,
        energies=energies,
        images=images,
        ours=_agreement(positions, energies, whole, seen.sigma),
        edges=_agreement(edges, energies, whole, np.zeros_like(edges)),
        edge_positions=edges,
    )


def _agreement(
    positions: Array, energies: Array, whole: NDArray[np.bool_], sigma: Array
) -> Agreement:
    return Agreement(
        repeats=tuple(
            _repeat(positions[:, whole], float(energy), pair)
            for energy in np.unique(energies)
            for pair in combinations(map(int, np.flatnonzero(energies == energy)), 2)
        ),
        similarity=_similarity(positions, energies, whole, sigma),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Seen:
    """Particles (P,) in all frames: see `NcaResult`; masked (F, P), and radii (P,) px."""

    ids: NDArray[np.int64]
    positions: Array
    sigma: Array
    fitted: NDArray[np.bool_]
    masked: NDArray[np.bool_]
    radius: Array


def _seen(results: ResultRows) -> _Seen:
    rows = of_revision(results.table("particles"), "highest")
    followed = list(where(rows, rows["state"] == "tracked")["particle"].unique())
    rows = where(rows, rows["state"].isin(MEASURED) & rows["particle"].isin(followed))
    wide = rows.pivot(
        index="frame", columns="particle", values=["y", "x", "sigma_y", "sigma_x", "area"]
    ).reindex(range(int(results.table("frames")["frame"].max()) + 1))
    sigma = [wide[key].to_numpy(np.float64) for key in ("sigma_y", "sigma_x")]
    return _Seen(
        ids=wide["y"].columns.to_numpy(np.int64),
        positions=np.stack([wide[key].to_numpy(np.float64) for key in "yx"], axis=-1),
        sigma=np.stack(sigma, axis=-1),
        # masks have one error for both axes, rims never
        fitted=wide["y"].notna().to_numpy() & (sigma[0] != sigma[1]),
        masked=wide["area"].notna().to_numpy(),
        radius=np.sqrt(rows.groupby("particle")["area"].median().to_numpy(np.float64) / np.pi),
    )


def _common(positions: Array, whole: NDArray[np.bool_]) -> Array:
    """Median motion (F, 2) px since the first frame; of the frame before where there is none."""
    common = np.zeros((len(positions), 2))
    for frame in range(1, len(positions)):
        steps = (positions[frame] - positions[0])[whole]
        steps = steps[np.isfinite(steps[:, 0])]
        common[frame] = np.median(steps, axis=0) if len(steps) else common[frame - 1]
    return common


def _whole(positions: Array, images: NDArray[np.float32], settings: Settings) -> NDArray[np.bool_]:
    """Tell which of P particles are detected next to their position, uncut, wherever measured."""
    detector = make_detector(settings.detect, resolve_device(settings.process.device))
    whole = np.ones(positions.shape[1], dtype=np.bool_)
    for places, image in zip(positions, images, strict=True):
        found, _ = detect_one(detector, image)
        away = np.hypot(*(places[:, None] - found.yx[None]).transpose(2, 0, 1))
        away = np.where(np.isnan(away), np.inf, away)
        nearest = away.argmin(axis=1)
        cut = found.cut[nearest] | (away.min(axis=1) > np.sqrt(found.area[nearest] / np.pi) / 2)
        whole &= ~(cut & np.isfinite(places[:, 0]))
    return whole


def _repeat(positions: Array, energy: float, frames: tuple[int, int]) -> Repeats:
    steps = positions[frames[1]] - positions[frames[0]]
    steps = steps[np.isfinite(steps[:, 0])]
    unknown = np.full((1, 2), np.nan)
    shift = np.median(steps if len(steps) else unknown, axis=0)
    length = np.hypot(*((steps if len(steps) else unknown) - shift).T)
    return Repeats(
        energy=energy,
        frames=frames,
        particles=len(steps),
        shift=shift,
        median=float(np.median(length)),
        rms=float(np.sqrt(np.mean(length**2))),
        largest=float(length.max()),
    )


def _similarity(
    positions: Array, energies: Array, whole: NDArray[np.bool_], sigma: Array
) -> SimilarityTransform:
    measured = np.isfinite(positions[..., 0])
    below, above = (np.flatnonzero(energies == e) for e in (NCA_BELOW_EV, NCA_ABOVE_EV))
    both = whole & measured[below].any(axis=0) & measured[above].any(axis=0)
    if both.sum() < 3:
        raise FrameError(f"wanted 3 whole particles at both energies, got {int(both.sum())}")
    means = [np.nanmean(positions[at][:, both], axis=0) for at in (below, above)]
    # not the error of a mean: that of a template is the same in all frames
    errors = [np.nanmean(sigma[at][:, both], axis=(0, 2)) for at in (below, above)]
    return fit_similarity(means[0], means[1], sigma=np.hypot(*errors))


# For people.

_OURS, _EDGES, _CUT = "#D55E00", "#0072B2", "#56B4E9"
_ARROW = 20  # by eye: how much arrows are enlarged


def nca_tables(result: NcaResult) -> tuple[Table, Table, Table]:
    """Lay out the repeats, the magnification, and each particle; ours beside the edges."""
    lengths = ("shift y", "shift x", "median", "rms", "largest", "edges: rms", "edges: largest")
    columns = [Column("energy", "energy", ".0f"), Column("frames", "frames")]
    columns += [Column("particles", "particles", "d"), *(Column(c, c, ".3f") for c in lengths)]
    repeats = []
    for pair, edges in zip(result.ours.repeats, result.edges.repeats, strict=True):
        values = (*pair.shift, pair.median, pair.rms, pair.largest, edges.rms, edges.largest)
        row: dict[str, Any] = dict(zip(lengths, map(float, values), strict=True))
        row["frames"] = ", ".join(map(str, pair.frames))
        repeats.append({**row, "energy": pair.energy, "particles": pair.particles})
    title = f"repeats at one energy, without their common shift, px (wanted {REPEAT_PX})"
    return Table(title, columns, repeats), _fits(result), _particles(result)


def _fits(result: NcaResult) -> Table:
    rows: list[dict[str, str]] = []
    wanted = f"{MAGNIFICATION} ± {MAGNIFICATION_TOLERANCE}"
    for label in ("operando", "edges"):
        fit = (result.ours if label == "operando" else result.edges).similarity
        y, x = fit.shift
        values = {
            f"magnification (wanted {wanted})": f"{fit.scale:.5f}",
            "± by the residuals": f"{fit.scale_sigma:.5f}",
            "± by bootstrap": f"{fit.scale_bootstrap:.5f}",
            "rotation, mrad": f"{1e3 * fit.rotation:.2f} ± {1e3 * fit.rotation_sigma:.2f}",
            "shift y, x, px": f"{y:.3f}, {x:.3f}",
            "whole particles": f"{len(fit.residuals)}",
        }
        rows.append({"by": label, **values})
    columns = [Column(key, key) for key in rows[0]]
    return Table(f"from {NCA_BELOW_EV:.0f} eV to the white line", columns, rows)


def _particles(result: NcaResult) -> Table:
    frames = range(1, len(result.apart))
    columns = [Column("particle", "particle", "d"), *(Column(str(f), f"frame {f}") for f in frames)]
    rows = []
    for particle in np.flatnonzero(result.whole & np.isfinite(result.positions[0, :, 0])):
        apart, fitted = result.apart[:, particle], result.fitted[:, particle]
        row: dict[str, Any] = {"particle": int(result.ids[particle]), "fitted": int(fitted.sum())}
        for frame in frames:
            if np.isfinite(apart[frame]):
                row[str(frame)] = f"{apart[frame]:.3f}{'' if fitted[frame] else ' m'}"
        rows.append(row)
    title = "whole particles: our motion since frame 0 against the edges', px (m: only a mask)"
    return Table(title, [*columns, Column("fitted", "fitted", "d")], rows)


def draw_nca(result: NcaResult) -> Figure:
    """Draw every frame with its particles; arrows from the first frame of the energy, enlarged.

    Those of the processor are red, those of the edges blue. At the second energy they show what is
    left of the motion from the first beyond the common shift: they point to the centre where the
    magnification falls.
    """
    figure = new_figure(16, 11, dpi=80)
    for frame, axes in enumerate(figure.subplots(2, 3).ravel()[: len(result.images)]):
        _draw_frame(axes, result, frame)
    fit = result.ours.similarity
    figure.suptitle(
        f"magnification {fit.scale:.4f} ± {fit.scale_sigma:.4f} (bootstrap "
        f"{fit.scale_bootstrap:.4f}); repeats "
        f"{', '.join(f'{pair.rms:.2f}' for pair in result.ours.repeats)} px rms",
        fontsize=12,
    )
    return figure


def _draw_frame(axes: Axes, result: NcaResult, frame: int) -> None:
    # the first frame of the energy; for the first above the edge, that below
    reference = int(np.flatnonzero(result.energies == result.energies[frame])[0])
    if frame == reference and result.energies[frame] != NCA_BELOW_EV:
        reference = 0
    if reference != frame:
        for positions, colour in ((result.edge_positions, _EDGES), (result.positions, _OURS)):
            steps = (positions[frame] - positions[reference])[result.whole]
            _arrows(axes, positions[frame, result.whole], steps, colour)
    for name, (y, x), whole in zip(result.ids, result.positions[frame], result.whole, strict=True):
        if np.isfinite(y):
            axes.plot(x, y, "o" if whole else "x", ms=4, color=_OURS if whole else _CUT)
            axes.text(x + 10, y - 10, str(name), color="yellow", fontsize=9)
    against = "" if reference == frame else f", arrows x{_ARROW} against frame {reference}"
    title = f"frame {frame}, {result.energies[frame]:.0f} eV{against}"
    show_image(axes, result.images[frame], title)


def _arrows(
    axes: Axes, places: NDArray[np.float64], steps: NDArray[np.float64], colour: str
) -> None:
    """Draw steps without their common part, from where there are any."""
    there = np.isfinite(steps[:, 0])
    if not there.any():
        return
    apart = steps[there] - np.median(steps[there], axis=0)
    for (y, x), (dy, dx) in zip(places[there], apart, strict=True):
        ends = (x + _ARROW * dx, y + _ARROW * dy)
        style = {"arrowstyle": "->", "color": colour, "lw": 1.5}
        axes.annotate("", xy=ends, xytext=(x, y), arrowprops=style, annotation_clip=False)
