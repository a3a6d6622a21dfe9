"""Result of one frame, and the ledger of all frames of a run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .frames import FrameKey, Role
from .register.deformation import IDENTITY, Affine, Magnification
from .register.drift import Gauge
from .register.particle import Rates
from .register.settings import DIRECTIONS

NO_OUTLINE = np.full(DIRECTIONS, np.nan, np.float32)
"""Outline of a particle that was not detected."""


class Status(StrEnum):
    """Outcome of a frame."""

    ALIGNED = "aligned"
    DEGRADED = "degraded"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True, kw_only=True)
class ParticleResult:
    """One particle in one frame; vectors are (2,) float64 (y, x).

    Attributes
    ----------
    state : tentative, tracked, coasting, lost or retired.
    yx, sigma, displacement, residual : px. path : px.
    rates : velocity and acceleration with their errors.
    area : px^2, NaN if not seen. od_mean : optical density, NaN if not seen.
    ssim : with the same particle's ROI in the frame before; NaN if there is none.
    roi : (S, S) float32, optical density, NaN where invalid.
    outline : (DIRECTIONS,) float32, rim of its mask about its first published place, px; see
        `operando.streamer.core.register.images`; NaN if not seen.
    """

    particle: int
    state: str
    yx: NDArray[np.float64]
    sigma: NDArray[np.float64]
    displacement: NDArray[np.float64]
    rates: Rates
    path: float
    residual: NDArray[np.float64]
    area: float
    od_mean: float
    ssim: float
    roi: NDArray[np.float32]
    outline: NDArray[np.float32] = field(default_factory=NO_OUTLINE.copy)


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameResult:
    """Everything that is published about one frame at one revision.

    Attributes
    ----------
    frame : 0-based count of sample frames in the raw run.
    energy : eV, NaN if unknown. time : data time, s.
    drift : (2,) float64, px; drift_sigma : px per component, NaN if unknown.
    gauge : what gave the drift. affine : strain and rotation about it.
    magnification : relative to the reference energy.
    aligned : (H, W) float32, optical density, NaN where invalid; None for a skipped frame whose
        size is not known.
    noise : typical noise of a pixel, rms, OD; NaN if unknown.
    unaligned : (h, w) float32, the same before any motion was taken out, small (see
        `operando.streamer.core.register.images`); None as `aligned`.
    """

    key: FrameKey
    frame: int
    energy: float
    time: float
    revision: int
    status: Status
    reason: str
    drift: NDArray[np.float64]
    drift_sigma: float
    gauge: Gauge
    affine: Affine
    magnification: Magnification
    aligned: NDArray[np.float32] | None
    particles: tuple[ParticleResult, ...]
    noise: float = float("nan")
    unaligned: NDArray[np.float32] | None = None


def skipped(
    key: FrameKey, frame: int, energy: float | None, time: float, reason: str
) -> FrameResult:
    """Make the result of a frame that could not be used, `reason` being the ledger's word."""
    nan = float("nan")
    return FrameResult(
        key=key,
        frame=frame,
        energy=nan if energy is None else energy,
        time=time,
        revision=0,
        status=Status.SKIPPED,
        reason=reason,
        drift=np.full(2, np.nan),
        drift_sigma=nan,
        gauge=Gauge(name=""),
        affine=IDENTITY,
        magnification=Magnification(value=nan, sigma=nan, known=False),
        aligned=None,
        particles=(),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Ledger:
    """Accounts of a run's sample frames, which must balance.

    received = aligned + degraded + skipped(reason) + dropped(reason)

    ==============  ============================================================================
    skipped         the frame came and could not be used
    ==============  ============================================================================
    duplicate       its event number, or its very pixels, have come before
    out_of_order    its event number is lower than one before it
    blank           no light, or no more than its noise
    saturated       too many pixels at the end of the camera's range
    nan             too many pixels are not finite
    shape           not of the size of the frames before it
    bad_frame       no image of real numbers
    missing_data    its event does not hold the image key
    missing_datum   its datum, or its stream_datum, never came; `missing_resource` likewise
    bad_datum       its datum cannot be understood; `unknown_spec`: no reader for its format
    missing_file    its file is not there; `forbidden_path`, `locked_file`, `not_flushed` likewise
    no_space        there is no room to keep it
    internal_error  a fault of ours
    ==============  ============================================================================

    ==============  ============================================================================
    dropped         the frame never came
    ==============  ============================================================================
    never_arrived   its event number is missing, or the stop document counts more events
    no_descriptor   the descriptor of its stream was lost, and with it what its events hold
    overload        it came when there was no room to keep what waits to be processed
    lost_inside     a fault of ours, after it came
    ==============  ============================================================================

    Attributes
    ----------
    received : sample frames announced by the documents of the run.
    aligned, degraded : frames with a result, by the status of their first revision.
    skipped, dropped : frames without, by reason.
    revised : final values that replaced provisional ones (not part of the balance).
    flats, darks : calibration images (not part of the balance).
    notices : what was odd, by kind, with how often (not part of the balance).
    """

    received: int = 0
    aligned: int = 0
    degraded: int = 0
    skipped: Mapping[str, int] = field(default_factory=dict)
    dropped: Mapping[str, int] = field(default_factory=dict)
    revised: int = 0
    flats: int = 0
    darks: int = 0
    notices: Mapping[str, int] = field(default_factory=dict)

    @property
    def balanced(self) -> bool:
        """Return whether every frame received is accounted for."""
        return self.received == sum(self.accounted.values())

    @property
    def accounted(self) -> dict[str, int]:
        """Return frames accounted for so far, by what became of them."""
        return {
            "aligned": self.aligned,
            "degraded": self.degraded,
            "skipped": sum(self.skipped.values()),
            "dropped": sum(self.dropped.values()),
        }

    def announce(self, role: Role, n: int = 1) -> Ledger:
        """Count announced images."""
        book = _BOOKS[role]
        return replace(self, **{book: getattr(self, book) + n})

    def note(self, kind: str, n: int = 1) -> Ledger:
        """Count something odd that cost no frame."""
        return replace(self, notices=_added(self.notices, kind, n))

    def lose(self, role: Role, n: int, reason: str) -> Ledger:
        """Count images of which no document ever came."""
        if role is not Role.SAMPLE:
            return self.note(f"{role}_{reason}", n)
        return replace(self.announce(role, n), dropped=_added(self.dropped, reason, n))

    def book(self, result: FrameResult) -> Ledger:
        """Enter the result of a frame."""
        if result.revision == 0 and result.status == Status.SKIPPED:
            return replace(self, skipped=_added(self.skipped, result.reason))
        book = str(result.status) if result.revision == 0 else "revised"
        return replace(self, **{book: getattr(self, book) + 1})

    def close(self) -> Ledger:
        """Account for what has been received and will get no result any more."""
        left = self.received - sum(self.accounted.values())
        return (
            self if left <= 0 else replace(self, dropped=_added(self.dropped, "lost_inside", left))
        )

    def live(self, received: int) -> dict[str, int]:
        """Return the columns of a row of ``frames``, `received` being the frames at its time."""
        return {f"ledger_{book}": n for book, n in {"received": received, **self.accounted}.items()}

    def as_dict(self) -> dict[str, Any]:
        """Return plain data for the stop document."""
        return {
            "received": self.received,
            "aligned": self.aligned,
            "degraded": self.degraded,
            "skipped": dict(self.skipped),
            "dropped": dict(self.dropped),
            "balanced": self.balanced,
            "revised": self.revised,
            "flats": self.flats,
            "darks": self.darks,
            "notices": dict(self.notices),
        }


def _added(entries: Mapping[str, int], reason: str, n: int = 1) -> dict[str, int]:
    return {**entries, reason: entries.get(reason, 0) + n}


_BOOKS = {Role.SAMPLE: "received", Role.FLAT: "flats", Role.DARK: "darks"}
