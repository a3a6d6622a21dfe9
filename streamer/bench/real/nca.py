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
import pandas as pd
import torch
from numpy.typing import NDArray

from ....models.detector import make_detector
from ....models.device import resolve_device
from ...config import Settings
from ...errors import FrameError
from ...evaluate.raw import od_stack
from ...evaluate.tables import MEASURED, of_revision, where
from ...frames import NamedDocument
from ...importers import import_documents
from .process import result_tables
from .similarity import Similarity, fit_similarity
from .stxm import present

Array = NDArray[np.float64]
Progress = Callable[[str, int, int], None]

FOLDER = Path("txm-ssrl-nca")
PROFILE = "ssrl_6_2c"
BELOW_EV, ABOVE_EV = 8324.0, 8354.0
MAGNIFICATION, MAGNIFICATION_TOLERANCE = 0.9969, 0.001
REPEAT_PX = 0.3


@dataclass(frozen=True, slots=True, kw_only=True)
class Repeats:
    """Two exposures at one energy; lengths in the plane, px.

    Attributes
    ----------
    frames : the two frames. particles : how many were measured in both.
    shift : (2,) float64, their common motion. rms, largest : of what is left of the particles'.
    """

    energy: float
    frames: tuple[int, int]
    particles: int
    shift: Array
    rms: float
    largest: float


@dataclass(frozen=True, slots=True, kw_only=True)
class NcaResult:
    """What was measured.

    Attributes
    ----------
    positions : (F, P, 2) float64, px, NaN where not measured, of the particles `ids` (P,).
    whole : (P,) bool, not cut by the rim of any frame.
    energies : (F,) float64, eV.
    images : (F, H, W) float32, optical density.
    repeats : every pair of exposures at one energy.
    similarity : of the whole particles from 8324 to 8354 eV; of mean positions.
    """

    ids: NDArray[np.int64]
    positions: Array
    whole: NDArray[np.bool_]
    energies: Array
    images: NDArray[np.float32]
    repeats: tuple[Repeats, ...]
    similarity: Similarity

    def summary(self) -> dict[str, Any]:
        """Plain numbers, for JSON."""
        fit = asdict(self.similarity)
        fit["residuals"] = np.hypot(*self.similarity.residuals.T)
        return {
            "particles": len(self.ids),
            "whole": int(self.whole.sum()),
            "repeats": [_plain(asdict(pair)) for pair in self.repeats],
            "similarity": _plain(fit),
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
    ids, positions, energies = _positions(tables.particles)
    images = od_stack(raw, settings)
    whole = _whole(positions, images, settings)
    similarity = _similarity(positions, energies, whole)
    return NcaResult(
        ids=ids,
        positions=positions,
        whole=whole,
        energies=energies,
        images=images,
        repeats=tuple(_repeats(positions[:, whole], energies)),
        similarity=similarity,
    )


def _positions(particles: pd.DataFrame) -> tuple[NDArray[np.int64], Array, Array]:
    rows = of_revision(particles, "highest")
    followed = list(where(rows, rows["state"] == "tracked")["particle"].unique())
    measured = rows["state"].isin(MEASURED) & np.isfinite(rows["area"])
    rows = where(rows, measured & rows["particle"].isin(followed))
    ids, column = np.unique(rows["particle"].to_numpy(np.int64), return_inverse=True)
    frame = rows["frame"].to_numpy(np.int64)
    frames = int(frame.max()) + 1
    positions, energies = np.full((frames, len(ids), 2), np.nan), np.full(frames, np.nan)
    positions[frame, column] = rows[["y", "x"]].to_numpy(np.float64)
    energies[frame] = rows["energy"].to_numpy(np.float64)
    return ids, positions, energies


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
    made = []
    for energy in np.unique(energies):
        for a, b in combinations(map(int, np.flatnonzero(energies == energy)), 2):
            steps = positions[b] - positions[a]
            steps = steps[np.isfinite(steps).all(axis=1)]
            if not len(steps):
                continue
            shift = np.median(steps, axis=0)
            length = np.hypot(*(steps - shift).T)
            made.append(
                Repeats(
                    energy=float(energy),
                    frames=(a, b),
                    particles=len(steps),
                    shift=shift,
                    rms=float(np.sqrt(np.mean(length**2))),
                    largest=float(length.max()),
                )
            )
    return made


def _similarity(positions: Array, energies: Array, whole: NDArray[np.bool_]) -> Similarity:
    measured = np.isfinite(positions[..., 0])
    below, above = np.flatnonzero(energies == BELOW_EV), np.flatnonzero(energies == ABOVE_EV)
    both = whole & measured[below].any(axis=0) & measured[above].any(axis=0)
    if both.sum() < 3:
        raise FrameError(f"wanted 3 whole particles at both energies, got {int(both.sum())}")
    means = [np.nanmean(positions[at][:, both], axis=0) for at in (below, above)]
    return fit_similarity(*means)


def _plain(values: dict[str, Any]) -> dict[str, Any]:
    return {k: v.tolist() if isinstance(v, np.ndarray) else v for k, v in values.items()}
