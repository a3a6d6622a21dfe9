"""Running means of darks and flats, and which of them belongs to a frame."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from ..frames import Frame
from .illumination import bright_level, coarsen
from .reference import prepare_flat
from .settings import CorrectSettings
from .state import CorrectorState, Mean, PreparedReference


def add_dark(state: CorrectorState, frame: Frame) -> CorrectorState:
    """Average a dark image into the dark of its exposure time."""
    same = [dark for dark in state.darks if dark.exposure == frame.exposure]
    made = _averaged(same[0], frame) if same else _started(frame, serial=0)
    others = tuple(dark for dark in state.darks if dark.exposure != frame.exposure)
    # The first dark of a run also holds for the flats prepared without one; a flat that had a dark
    # keeps the one it had.
    flats = state.flats if state.darks else tuple(_unprepared(flat) for flat in state.flats)
    return replace(state, darks=(*others, made), flats=flats)


def add_flat(state: CorrectorState, frame: Frame, settings: CorrectSettings) -> CorrectorState:
    """Average a flat image into its open group, or start a group that replaces that energy's."""
    same = [flat for flat in state.flats if _same_group(flat, frame, settings)]
    if same and same[0].is_open:
        others = tuple(flat for flat in state.flats if flat is not same[0])
        return replace(state, flats=(*others, _averaged(same[0], frame)))
    others = tuple(
        flat for flat in state.flats if not same_energy(flat.energy, frame.energy, settings)
    )
    flats = (*others, _started(frame, serial=state.n_groups))
    first = state.count == 0 if state.n_groups == 0 else state.flats_first
    # A prepared flat is a float32 image and its mask.
    fitting = int(settings.flat_memory_mb * 1e6 / (5 * frame.image.size))
    if len(flats) > max(1, min(settings.max_flats, fitting)):
        flats = _evicted(flats)
    return replace(state, flats=flats, n_groups=state.n_groups + 1, flats_first=first)


def pick_dark(state: CorrectorState, exposure: float | None) -> Mean | None:
    """Return the dark of the nearest exposure time, None without any dark."""
    if not state.darks:
        return None
    if exposure is None:
        return state.darks[-1]
    return min(
        state.darks,
        key=lambda dark: abs(dark.exposure - exposure) if dark.exposure is not None else np.inf,
    )


def net_coarse(state: CorrectorState, frame: Frame) -> NDArray[np.float32]:
    """Return the block means of (frame - dark), (h, w) float32, counts."""
    dark = pick_dark(state, frame.exposure)
    coarse = coarsen(frame.image)
    return coarse if dark is None else coarse - dark.coarse


def closed(state: CorrectorState, flat: Mean, settings: CorrectSettings) -> Mean:
    """Return the flat group closed and prepared, without its counts."""
    if flat.reference is not None or flat.image is None:
        return replace(flat, is_open=False)
    dark = pick_dark(state, flat.exposure)
    made = prepare_flat(
        flat.image,
        None if dark is None else dark.image,
        settings,
        energy=flat.energy,
        exposure=flat.exposure,
    )
    return replace(flat, is_open=False, image=None, reference=made)


def matching(state: CorrectorState, energy: float | None, settings: CorrectSettings) -> Mean | None:
    """Return the latest prepared flat of this energy, None if there is none."""
    known = [
        flat
        for flat in state.flats
        if flat.reference is not None and same_energy(flat.energy, energy, settings)
    ]
    return max(known, key=lambda flat: flat.serial, default=None)


def nearest(state: CorrectorState, energy: float | None) -> Mean | None:
    """Return the prepared flat of the nearest energy, the latest of equals; None without flats."""
    known = [flat for flat in state.flats if flat.reference is not None]
    return min(known, key=lambda flat: (_distance(flat.energy, energy), -flat.serial), default=None)


def is_single(state: CorrectorState, settings: CorrectSettings) -> bool:
    """Tell whether all flats of the run so far are of one energy."""
    energies = [flat.energy for flat in state.flats]
    return all(same_energy(energy, energies[0], settings) for energy in energies)


def same_energy(one: float | None, other: float | None, settings: CorrectSettings) -> bool:
    """Tell whether two energies, eV, agree within the tolerance; unknown agrees with all."""
    return _distance(one, other) <= settings.energy_tolerance


def rate(level: float, exposure: float | None, settings: CorrectSettings) -> float:
    """Return counts per second where the exposure is known and wanted, else the counts."""
    return level / exposure if settings.normalise_exposure and exposure else level


def brightest_rate(state: CorrectorState, settings: CorrectSettings) -> float | None:
    """Return the bright level of the latest flat, counts/s (counts without exposure)."""
    if not state.flats:
        return None
    last = state.flats[-1]
    return rate(bright_level(last.coarse), last.exposure, settings)


def exposure_shift(
    reference: PreparedReference, exposure: float | None, settings: CorrectSettings
) -> float:
    """Return ln of (exposure of the frame / exposure of the flat), 0 where one is not known."""
    if not (settings.normalise_exposure and exposure and reference.exposure):
        return 0.0
    return float(np.log(exposure / reference.exposure))


def _same_group(flat: Mean, frame: Frame, settings: CorrectSettings) -> bool:
    return flat.exposure == frame.exposure and same_energy(flat.energy, frame.energy, settings)


def _distance(one: float | None, other: float | None) -> float:
    return 0.0 if one is None or other is None else abs(one - other)


def _started(frame: Frame, *, serial: int) -> Mean:
    return Mean(
        energy=frame.energy,
        exposure=frame.exposure,
        image=frame.image.astype(np.float32),
        coarse=coarsen(frame.image),
        n=frame.n_averaged,
        serial=serial,
    )


def _averaged(mean: Mean, frame: Frame) -> Mean:
    n = mean.n + frame.n_averaged
    share = frame.n_averaged / n
    before = frame.image if mean.image is None else mean.image
    return replace(
        mean,
        image=before + np.float32(share) * (frame.image - before),
        coarse=mean.coarse + np.float32(share) * (coarsen(frame.image) - mean.coarse),
        n=n,
    )


def _unprepared(flat: Mean) -> Mean:
    if flat.reference is None:
        return flat
    return replace(flat, image=np.exp(flat.reference.log_counts), reference=None)


def _evicted(flats: tuple[Mean, ...]) -> tuple[Mean, ...]:
    """Drop the flat whose loss leaves the smallest gap in energy, never the newest."""
    energies = [flat.energy if flat.energy is not None else 0.0 for flat in flats]

    def gap(index: int) -> float:
        below = [e for i, e in enumerate(energies) if e <= energies[index] and i != index]
        above = [e for i, e in enumerate(energies) if e >= energies[index] and i != index]
        return min(above) - max(below) if above and below else np.inf

    worst = min(range(len(flats) - 1), key=gap)
    return tuple(flat for index, flat in enumerate(flats) if index != worst)
