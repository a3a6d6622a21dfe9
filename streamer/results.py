"""What the core says about one frame."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from .frames import FrameKey
from .outline import UNKNOWN as NO_OUTLINE
from .register.affine import IDENTITY, Affine
from .register.gauge import Gauge
from .register.kinematics import Rates
from .register.magnification import Magnification


class Status(StrEnum):
    """What became of a frame."""

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
    outline : (DIRECTIONS,) float32, rim of its mask about its place as it was first told, px; see
        `operando.streamer.outline`; NaN if not seen.
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
        `operando.streamer.unaligned`); None as `aligned`.
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
    """The result of a frame that could not be used, `reason` being the ledger's word."""
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
