"""Battery particles at the Ni edge: repeats that must agree, and a known magnification.

LiNi0.8Co0.15Al0.05O2 at SSRL 6-2c: three exposures at 8324 eV (below the edge) and three at
8354 eV (white line), with their flats. Between repeats nothing moves but the stage, by 0.3 px at
most. Between the energies the zone plate's magnification changes: 0.9969 +- 0.001, measured by
phase correlation and StackReg of the rims; 8324/8354 = 0.9964 is what a zone plate gives.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from .....models.arrays import Array
from .....models.detector import make_detector
from .....models.device import resolve_device
from ....config import Settings
from ....core.frames import NamedDocument
from ....errors import FrameError
from ....io.importers import import_documents
from ...evaluate.matching import MEASURED, of_revision, where
from ...evaluate.raw import od_stack
from .process import Tables, result_tables
from .ruler import SimilarityTransform, fit_similarity, follow_edges
from .stxm import present

Progress = Callable[[str, int, int], None]

FOLDER = Path("txm-ssrl-nca")

PROFILE = "ssrl_6_2c"

NCA_BELOW_EV, NCA_ABOVE_EV = 8324.0, 8354.0

MAGNIFICATION, MAGNIFICATION_TOLERANCE = 0.9969, 0.001

REPEAT_PX = 0.3


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
    """What positions say about the repeats and the magnification.

    Attributes
    ----------
    repeats : every pair of exposures at one energy.
    similarity : from 8324 to 8354 eV, of the mean positions.
    """

    repeats: tuple[Repeats, ...]
    similarity: SimilarityTransform

    def summary(self) -> dict[str, Any]:
        """Plain numbers, for JSON."""
        fit = asdict(self.similarity)
        fit["residuals"] = np.hypot(*self.similarity.residuals.T)
        repeats = [_plain(asdict(pair)) for pair in self.repeats]
        return {"repeats": repeats, "similarity": _plain(fit)}


@dataclass(frozen=True, slots=True, kw_only=True)
class NcaResult:
    """What was measured.

    Attributes
    ----------
    ids : (P,) int64, particles that were tracked.
    positions : (F, P, 2) float64, px, NaN where not measured. sigma : (F, P, 2) float64, px, as
        reported with them.
    fitted : (F, P) bool, matched with a template; else the centre of mass of a mask.
    whole : (P,) bool, not cut by the rim of any frame.
    energies : (F,) float64, eV.
    images : (F, H, W) float32, optical density.
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
        """(F, P) float64, px, our motion since the first frame against that of the edges."""
        steps = [p - p[0] for p in (self.positions, self.edge_positions)]
        return np.hypot(*(steps[0] - steps[1]).transpose(2, 0, 1))

    def summary(self) -> dict[str, Any]:
        """Plain numbers, for JSON."""
        return {
            "particles": len(self.ids),
            "whole": self.ids[self.whole].tolist(),
            "fitted": {
                int(particle): np.flatnonzero(frames).tolist()
                for particle, frames in zip(self.ids, self.fitted.T, strict=True)
            },
            "ours": self.ours.summary(),
            "edges": self.edges.summary(),
            "apart": [[None if np.isnan(v) else float(v) for v in row] for row in self.apart],
            "magnification": MAGNIFICATION,
        }


def measure_nca(data: Path, settings: Settings, progress: Progress = lambda *_: None) -> NcaResult:
    """Import the files, process them as when they come live, and compare.

    Parameters
    ----------
    data : the folder of the real data. settings : of the processor, those of the beamline.
    progress : called with what is done, and how many of how many steps.

    Raises
    ------
    ImportDataError
        If the data are not there.
    FrameError
        If fewer than three whole particles were followed over the edge.
    """
    present(data, FOLDER)
    raw: list[NamedDocument] = []
    stream = import_documents(data / FOLDER, progress=lambda n, of: progress("processing", n, of))
    tables = result_tables(stream, settings, lambda name, doc: raw.append((name, doc)))
    seen = _seen(tables)
    ids, positions = seen.ids, seen.positions
    energies = tables.frames.groupby("frame")["energy"].first().to_numpy(np.float64)
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
        repeats=tuple(_repeats(positions[:, whole], energies)),
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


def _seen(tables: Tables) -> _Seen:
    rows = of_revision(tables.particles, "highest")
    followed = list(where(rows, rows["state"] == "tracked")["particle"].unique())
    rows = where(rows, rows["state"].isin(MEASURED) & rows["particle"].isin(followed))
    ids, column = np.unique(rows["particle"].to_numpy(np.int64), return_inverse=True)
    frame = rows["frame"].to_numpy(np.int64)
    shape = (int(tables.frames["frame"].max()) + 1, len(ids))
    positions, sigma = np.full((*shape, 2), np.nan), np.full((*shape, 2), np.nan)
    fitted, masked = np.zeros(shape, np.bool_), np.zeros(shape, np.bool_)
    positions[frame, column] = rows[["y", "x"]].to_numpy(np.float64)
    errors = rows[["sigma_y", "sigma_x"]].to_numpy(np.float64)
    sigma[frame, column] = errors
    # masks have one error for both axes, rims never
    fitted[frame, column] = errors[:, 0] != errors[:, 1]
    masked[frame, column] = np.isfinite(rows["area"].to_numpy(np.float64))
    area = rows.groupby("particle")["area"].median().loc[ids].to_numpy(np.float64)
    return _Seen(
        ids=ids,
        positions=positions,
        sigma=sigma,
        fitted=fitted,
        masked=masked,
        radius=np.sqrt(area / np.pi),
    )


def _common(positions: Array, whole: NDArray[np.bool_]) -> Array:
    """(F, 2) px, median motion since the first frame; of the frame before where there is none."""
    common = np.zeros((len(positions), 2))
    for frame in range(1, len(positions)):
        steps = (positions[frame] - positions[0])[whole]
        steps = steps[np.isfinite(steps[:, 0])]
        common[frame] = np.median(steps, axis=0) if len(steps) else common[frame - 1]
    return common


def _whole(positions: Array, images: NDArray[np.float32], settings: Settings) -> NDArray[np.bool_]:
    """(P,) bool, the particle is detected next to its position, uncut, wherever it was measured."""
    device = resolve_device(settings.process.device)
    detector = make_detector(settings.detect, device)
    whole = np.ones(positions.shape[1], dtype=np.bool_)
    for places, image in zip(positions, images, strict=True):
        od = torch.from_numpy(np.nan_to_num(image))[None, None].to(device)
        valid = torch.from_numpy(np.isfinite(image))[None, None].to(device)
        (found,) = detector.detect(od, valid)
        away = np.hypot(*(places[:, None] - found.yx[None]).transpose(2, 0, 1))
        away = np.where(np.isnan(away), np.inf, away)
        nearest = away.argmin(axis=1)
        cut = found.cut[nearest] | (away.min(axis=1) > np.sqrt(found.area[nearest] / np.pi) / 2)
        whole &= ~(cut & np.isfinite(places[:, 0]))
    return whole


def _repeats(positions: Array, energies: Array) -> list[Repeats]:
    pairs = [
        (float(energy), pair)
        for energy in np.unique(energies)
        for pair in combinations(map(int, np.flatnonzero(energies == energy)), 2)
    ]
    return [_pair(positions, energy, pair) for energy, pair in pairs]


def _pair(positions: Array, energy: float, frames: tuple[int, int]) -> Repeats:
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
    below, above = (
        np.flatnonzero(energies == NCA_BELOW_EV),
        np.flatnonzero(energies == NCA_ABOVE_EV),
    )
    both = whole & measured[below].any(axis=0) & measured[above].any(axis=0)
    if both.sum() < 3:
        raise FrameError(f"wanted 3 whole particles at both energies, got {int(both.sum())}")
    means = [np.nanmean(positions[at][:, both], axis=0) for at in (below, above)]
    # not the error of a mean: that of a template is the same in all frames
    errors = [np.nanmean(sigma[at][:, both], axis=(0, 2)) for at in (below, above)]
    return fit_similarity(means[0], means[1], sigma=np.hypot(*errors))


def _plain(values: dict[str, Any]) -> dict[str, Any]:
    return {k: v.tolist() if isinstance(v, np.ndarray) else v for k, v in values.items()}
