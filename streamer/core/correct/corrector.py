"""Which correction a frame gets, and when it gets a better one.

Three orders occur at beamlines. Flat first: frames are final at once. Flat after each energy: a
frame gets a provisional value, and a second one when the flats of its energy are complete, which is
when the next sample frame or a flat of another energy arrives. Flat at the end of the run: all
frames are provisional until ``finish``.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from ..frames import Frame, Role
from . import illumination, means
from .checks import check_light, check_pixels, check_shape
from .illumination import bright_level
from .reference import prepare_estimate
from .settings import CorrectSettings
from .state import Correction, CorrectorState, Mean, Pending, PreparedReference

_LIT = 0.1

_BACKGROUND_PERCENTILE = 75


def init() -> CorrectorState:
    """Return the state before the first frame of a run."""
    return CorrectorState()


def skip(state: CorrectorState) -> tuple[CorrectorState, int]:
    """Count a sample frame that never came, or that ``update`` refused.

    Returns
    -------
    state
    frame : the 0-based count of the skipped frame.
    """
    return replace(state, count=state.count + 1), state.count


def update(
    state: CorrectorState, frame: Frame, settings: CorrectSettings
) -> tuple[CorrectorState, tuple[Correction, ...]]:
    """Take one frame of any role into account.

    Returns
    -------
    state
    corrections : final ones of earlier frames whose flat is now complete, then, for a sample
        frame, its own.

    Raises
    ------
    BadFrameError
        The frame cannot be used (``blank``, ``saturated``, ``nan``, ``shape``). The state is
        untouched; for a sample frame call ``skip``.
    """
    check_pixels(frame, settings)
    check_shape(frame, state.shape)
    height, width = frame.image.shape
    if frame.role is Role.DARK:
        return means.add_dark(replace(state, shape=(height, width)), frame), ()
    coarse = means.net_coarse(state, frame)
    if frame.role is Role.FLAT:
        return _flat(replace(state, shape=(height, width)), frame, coarse, settings)
    return _sample(replace(state, shape=(height, width)), frame, coarse, settings)


def finish(
    state: CorrectorState, settings: CorrectSettings
) -> tuple[CorrectorState, tuple[Correction, ...]]:
    """Hand out, at the stop of the run, the final values that differ from the provisional ones.

    Returns
    -------
    state : without pending frames.
    corrections : in frame order. A frame without a flat of its energy gets the nearest energy's; a
        frame whose value would not change is not among them.
    """
    state, corrections = _close(state, settings)
    left = [_last(state, pending, settings) for pending in state.pending]
    done = [*corrections, *(correction for correction in left if correction is not None)]
    done.sort(key=lambda correction: correction.frame)
    return replace(state, pending=()), tuple(done)


def _flat(
    state: CorrectorState,
    frame: Frame,
    coarse: NDArray[np.float32],
    settings: CorrectSettings,
) -> tuple[CorrectorState, tuple[Correction, ...]]:
    level = means.rate(bright_level(coarse), frame.exposure, settings)
    check_light(level, means.brightest_rate(state, settings), settings)
    continued = any(
        flat.is_open and means.same_energy(flat.energy, frame.energy, settings)
        for flat in state.flats
    )
    corrections: tuple[Correction, ...] = ()
    if not continued:
        state, corrections = _close(state, settings)
    return means.add_flat(state, frame, settings), corrections


def _sample(
    state: CorrectorState,
    frame: Frame,
    coarse: NDArray[np.float32],
    settings: CorrectSettings,
) -> tuple[CorrectorState, tuple[Correction, ...]]:
    level = means.rate(bright_level(coarse), frame.exposure, settings)
    check_light(level, _usual_level(state, settings), settings)
    usual = level if state.level is None else 0.8 * state.level + 0.2 * level
    state, finals = _close(replace(state, level=usual), settings)
    pending = Pending(
        key=frame.key,
        frame=state.count,
        energy=frame.energy,
        exposure=frame.exposure,
        time=frame.time,
        revision=0,
        serial=-1,
        coarse=coarse,
    )
    state, own, serial = _first(state, pending, settings)
    waiting = state.pending if own.final else (*state.pending, replace(pending, serial=serial))
    waiting = waiting[-settings.max_pending :]
    return replace(state, count=state.count + 1, pending=waiting), (*finals, own)


def _usual_level(state: CorrectorState, settings: CorrectSettings) -> float | None:
    if state.level is not None:
        return state.level
    flat = means.brightest_rate(state, settings)
    # Light behind a sample is weaker than a flat, and how much is not known yet.
    return None if flat is None else 0.1 * flat


def _close(
    state: CorrectorState, settings: CorrectSettings
) -> tuple[CorrectorState, tuple[Correction, ...]]:
    """Prepare the flats that are complete; the frames of their energies become final."""
    if all(not flat.is_open and flat.reference is not None for flat in state.flats):
        return state, ()
    new = {flat.serial for flat in state.flats if flat.is_open}
    flats = tuple(means.closed(state, flat, settings) for flat in state.flats)
    state = replace(state, flats=flats)
    done: list[Correction] = []
    waiting: list[Pending] = []
    for pending in state.pending:
        flat = means.matching(state, pending.energy, settings)
        if flat is None or flat.reference is None or flat.serial not in new:
            waiting.append(pending)
            continue
        done.append(_exact(state, pending, flat.reference, settings, revision=pending.revision + 1))
        state = replace(state, background=_ratio(pending.coarse, flat.reference, done[-1]))
    return replace(state, pending=tuple(waiting)), tuple(done)


def _first(
    state: CorrectorState, pending: Pending, settings: CorrectSettings
) -> tuple[CorrectorState, Correction, int]:
    """Return the first value of a frame and the serial of the flat it is from."""
    flat = means.matching(state, pending.energy, settings)
    if flat is not None and flat.reference is not None:
        own = _exact(state, pending, flat.reference, settings, revision=0)
        background = _ratio(pending.coarse, flat.reference, own)
        return replace(state, background=background), own, flat.serial
    flat = means.nearest(state, pending.energy)
    if flat is not None and flat.reference is not None:
        if state.flats_first and means.is_single(state, settings):
            own = _exact(state, pending, flat.reference, settings, revision=0)
            own = replace(own, final=False, note=_note(own.note, _other_energy(flat, pending)))
            return state, own, flat.serial
        own = _scaled(state, pending, flat.reference, revision=0)
        note = _note(own.note, _other_energy(flat, pending))
        return state, replace(own, provisional=True, final=False, note=note), flat.serial
    memory, coefficients, level = illumination.observe(
        state.illumination, pending.coarse, settings.illumination_order
    )
    assert state.shape is not None  # set by update
    surface = illumination.evaluate(coefficients, level, state.shape, pending.coarse.shape)
    own = _correction(state, pending, prepare_estimate(surface, settings), revision=0)
    own = replace(own, provisional=True, final=False, note=_note(own.note, "no flat yet"))
    return replace(state, illumination=memory), own, -1


def _last(state: CorrectorState, pending: Pending, settings: CorrectSettings) -> Correction | None:
    """Return the value at the stop of the run, None if it is what was handed out."""
    flat = means.nearest(state, pending.energy)
    if flat is None or flat.reference is None or flat.serial == pending.serial:
        return None
    revision = pending.revision + 1
    if means.is_single(state, settings):
        return _exact(state, pending, flat.reference, settings, revision=revision)
    own = _scaled(state, pending, flat.reference, revision=revision)
    return replace(own, note=_note(own.note, _other_energy(flat, pending)))


def _exact(
    state: CorrectorState,
    pending: Pending,
    reference: PreparedReference,
    settings: CorrectSettings,
    *,
    revision: int,
) -> Correction:
    shift = means.exposure_shift(reference, pending.exposure, settings)
    return replace(_correction(state, pending, reference, revision=revision), log_scale=shift)


def _scaled(
    state: CorrectorState, pending: Pending, reference: PreparedReference, *, revision: int
) -> Correction:
    """Scale the flat of another energy so that the bright parts transmit what they did last."""
    own = _correction(state, pending, reference, revision=revision)
    return replace(own, log_scale=_ratio(pending.coarse, reference, own) - state.background)


def _ratio(coarse: NDArray[np.float32], reference: PreparedReference, own: Correction) -> float:
    """Return ln of the transmission of the bright parts of the sample under a correction."""
    lit = reference.coarse_valid & (reference.coarse_log > np.log(_LIT * reference.level))
    lit &= coarse > 0
    if not lit.any():
        return 0.0
    logs = np.log(coarse[lit]) - reference.coarse_log[lit]
    return float(np.percentile(logs, _BACKGROUND_PERCENTILE)) - own.log_scale


def _correction(
    state: CorrectorState, pending: Pending, reference: PreparedReference, *, revision: int
) -> Correction:
    dark = means.pick_dark(state, pending.exposure)
    return Correction(
        key=pending.key,
        frame=pending.frame,
        energy=pending.energy,
        time=pending.time,
        revision=revision,
        provisional=False,
        final=True,
        dark=None if dark is None else dark.image,
        reference=reference,
        log_scale=0.0,
        note="no dark" if dark is None else "",
    )


def _other_energy(flat: Mean, pending: Pending) -> str:
    return f"flat of {flat.energy} eV for {pending.energy} eV"


def _note(*parts: str) -> str:
    return "; ".join(part for part in parts if part)
