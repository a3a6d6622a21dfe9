"""Choose the correction of a frame, and a better one when its flat is known.

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
from . import illumination
from .illumination import bright_level, coarsen
from .reference import (
    add_dark,
    add_flat,
    closed,
    is_single,
    matching,
    nearest,
    pick_dark,
    prepare_estimate,
    rate,
    same_energy,
)
from .settings import CorrectSettings
from .state import BadFrameError, Correction, CorrectorState, Pending, PreparedReference

# All by eye.
_LEAST_SIDE = 8  # px: no camera is smaller
_SAMPLED_SIDE = 256  # px of each side that are looked at for NaN and saturation
_MOST_NAN = 0.5  # share of the pixels
_BEHIND_SAMPLE = 0.1  # least light behind a sample over that of a flat, while it is not known
_LEVEL_SHARES = (0.8, 0.2)  # of earlier frames and of the latest in the usual level
_LIT = 0.1  # blocks with less of the bright level tell nothing of the light
_BACKGROUND_PERCENTILE = 75  # of the blocks: beside the particles, which cover less than half


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
    height, width = frame.image.shape
    if state.shape not in (None, (height, width)):
        raise BadFrameError(
            "shape",
            f"frame {frame.image.shape} does not fit the frames before it {state.shape}; "
            "was the camera's binning or region changed within the run?",
        )
    state = replace(state, shape=(height, width))
    if frame.role is Role.DARK:
        return add_dark(state, frame), ()
    coarse, dark = coarsen(frame.image), pick_dark(state, frame.exposure)
    if dark is not None:
        coarse = coarse - dark.coarse
    level = rate(bright_level(coarse), frame.exposure, settings)
    _check_light(state, frame.role, level, settings)
    if frame.role is Role.SAMPLE:
        return _sample(state, frame, coarse, level, settings)
    corrections: tuple[Correction, ...] = ()
    if not any(f.is_open and same_energy(f.energy, frame.energy, settings) for f in state.flats):
        state, corrections = _close(state, settings)
    return add_flat(state, frame, settings), corrections


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


def check_pixels(frame: Frame, settings: CorrectSettings) -> None:
    """Refuse a frame that is not a plain picture.

    Raises
    ------
    BadFrameError
        ``shape`` (not two-dimensional, or empty), ``nan`` (more than half of the pixels are not
        finite) or ``saturated``.
    """
    image = frame.image
    if image.ndim != 2 or min(image.shape) < _LEAST_SIDE:
        raise BadFrameError(
            "shape", f"wanted an image (H, W) of at least 8 x 8 px, got shape {image.shape}"
        )
    sample = image[tuple(slice(None, None, max(1, n // _SAMPLED_SIDE)) for n in image.shape)]
    if np.isfinite(sample).mean() < _MOST_NAN:
        raise BadFrameError(
            "nan", "more than half of the pixels are not finite; check the detector"
        )
    saturated = float((sample >= settings.saturation).mean())
    if saturated > settings.max_saturated:
        raise BadFrameError(
            "saturated",
            f"{saturated:.0%} of the pixels are at or above {settings.saturation:g} counts; "
            "shorten the exposure",
        )


def _check_light(
    state: CorrectorState, role: Role, level: float, settings: CorrectSettings
) -> None:
    """Refuse a frame whose bright level is far below the usual one, or not positive."""
    usual = None
    if role is Role.SAMPLE and state.level is not None:
        usual = state.level
    elif state.flats:
        last = state.flats[-1]
        usual = rate(bright_level(last.coarse), last.exposure, settings)
        usual *= _BEHIND_SAMPLE if role is Role.SAMPLE else 1.0
    floor = 0.0 if usual is None else settings.blank_level * usual
    if not level > floor:
        raise BadFrameError(
            "blank", f"bright level {level:.4g} is not above {floor:.4g}; is there beam?"
        )


def _sample(
    state: CorrectorState,
    frame: Frame,
    coarse: NDArray[np.float32],
    level: float,
    settings: CorrectSettings,
) -> tuple[CorrectorState, tuple[Correction, ...]]:
    usual = level
    if state.level is not None:
        usual = _LEVEL_SHARES[0] * state.level + _LEVEL_SHARES[1] * level
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


def _close(
    state: CorrectorState, settings: CorrectSettings
) -> tuple[CorrectorState, tuple[Correction, ...]]:
    """Prepare the flats that are complete; the frames of their energies become final."""
    if all(not flat.is_open and flat.reference is not None for flat in state.flats):
        return state, ()
    new = {flat.serial for flat in state.flats if flat.is_open}
    flats = tuple(
        closed(state, flat, settings) if flat.is_open or flat.reference is None else flat
        for flat in state.flats
    )
    state = replace(state, flats=flats)
    done: list[Correction] = []
    waiting: list[Pending] = []
    for pending in state.pending:
        flat = matching(state, pending.energy, settings)
        if flat is None or flat.reference is None or flat.serial not in new:
            waiting.append(pending)
            continue
        own = _correction(state, pending, flat.reference, settings, revision=pending.revision + 1)
        done.append(own)
        state = replace(state, background=_brightness(pending.coarse, own))
    return replace(state, pending=tuple(waiting)), tuple(done)


def _first(
    state: CorrectorState, pending: Pending, settings: CorrectSettings
) -> tuple[CorrectorState, Correction, int]:
    """Return the first value of a frame and the serial of the flat it is from."""
    flat = matching(state, pending.energy, settings)
    if flat is not None and flat.reference is not None:
        own = _correction(state, pending, flat.reference, settings, revision=0)
        return replace(state, background=_brightness(pending.coarse, own)), own, flat.serial
    flat = nearest(state, pending.energy)
    if flat is not None and flat.reference is not None:
        scaled = not (state.flats_first and is_single(state, settings))
        note = f"flat of {flat.energy} eV for {pending.energy} eV"
        own = _correction(
            state, pending, flat.reference, settings, revision=0, scaled=scaled, note=note
        )
        return state, replace(own, provisional=scaled, final=False), flat.serial
    memory, coefficients, level = illumination.observe(
        state.illumination, pending.coarse, settings.illumination_order
    )
    assert state.shape is not None  # set by update
    surface = illumination.evaluate(coefficients, level, state.shape, pending.coarse.shape)
    reference = prepare_estimate(surface, settings)
    own = _correction(state, pending, reference, settings, revision=0, note="no flat yet")
    own = replace(own, provisional=True, final=False)
    return replace(state, illumination=memory), own, -1


def _last(state: CorrectorState, pending: Pending, settings: CorrectSettings) -> Correction | None:
    """Return the value at the stop of the run, None if it is what was handed out."""
    flat = nearest(state, pending.energy)
    if flat is None or flat.reference is None or flat.serial == pending.serial:
        return None
    revision, scaled = pending.revision + 1, not is_single(state, settings)
    note = f"flat of {flat.energy} eV for {pending.energy} eV" if scaled else ""
    return _correction(
        state, pending, flat.reference, settings, revision=revision, scaled=scaled, note=note
    )


def _correction(
    state: CorrectorState,
    pending: Pending,
    reference: PreparedReference,
    settings: CorrectSettings,
    *,
    revision: int,
    scaled: bool = False,
    note: str = "",
) -> Correction:
    """Divide a frame by a reference.

    Exposure times are divided out; or, with a flat of another energy, it is `scaled` so that the
    bright parts transmit what they did last.
    """
    dark = pick_dark(state, pending.exposure)
    own = Correction(
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
        note="; ".join(part for part in ("no dark" if dark is None else "", note) if part),
    )
    if scaled:
        return replace(own, log_scale=_brightness(pending.coarse, own) - state.background)
    if settings.normalise_exposure and pending.exposure and reference.exposure:
        return replace(own, log_scale=float(np.log(pending.exposure / reference.exposure)))
    return own


def _brightness(coarse: NDArray[np.float32], own: Correction) -> float:
    """Return ln of the transmission of the bright parts of the sample under a correction."""
    reference = own.reference
    lit = reference.coarse_valid & (reference.coarse_log > np.log(_LIT * reference.level))
    lit &= coarse > 0
    if not lit.any():
        return 0.0
    logs = np.log(coarse[lit]) - reference.coarse_log[lit]
    return float(np.percentile(logs, _BACKGROUND_PERCENTILE)) - own.log_scale
