"""State and results of the correction.

Sample images are never kept here: the shell keeps them and hands them to ``apply``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ...errors import FrameError
from ..frames import FrameKey


class BadFrameError(FrameError):
    """A frame that cannot be corrected; `reason` is blank, saturated, nan or shape."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


@dataclass(frozen=True, slots=True, kw_only=True)
class PreparedReference:
    """Divisor of sample frames, prepared once so that ``apply`` is one logarithm.

    Attributes
    ----------
    source : a flat image, or the illumination estimated from the sample frames themselves.
    energy : eV of the flat, None if unknown or estimated.
    exposure : s per image of the flat, None if unknown or estimated.
    log_counts : (H, W) float32, ln of (flat - dark), counts; finite everywhere.
    valid : (H, W) bool, well lit, alive and away from the rim.
    coarse_log : (h, w) float32, `log_counts` averaged over blocks.
    coarse_valid : (h, w) bool, blocks of which at least half is valid.
    level : bright level of (flat - dark), counts.
    """

    source: Literal["flat", "estimate"]
    energy: float | None
    exposure: float | None
    log_counts: NDArray[np.float32]
    valid: NDArray[np.bool_]
    coarse_log: NDArray[np.float32]
    coarse_valid: NDArray[np.bool_]
    level: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Correction:
    """Dark and reference by which one sample frame becomes optical density.

    Attributes
    ----------
    frame : 0-based count of sample frames in the raw run.
    revision : 0 for the first value of a frame, then 1, 2, ...
    provisional : True while the flat of this energy is not known.
    final : True if no further revision can come, so that the raw pixels may be released.
        ``provisional=False, final=False`` says: the only flat known so far, of another energy.
    dark : (H, W) float32 counts, None for no dark.
    reference : what the frame is divided by.
    log_scale : added to ``reference.log_counts``: exposure ratio and, for a flat of another
        energy, the ratio of the bright levels.
    note : what was missing, for the operator; empty if nothing was.
    """

    key: FrameKey
    frame: int
    energy: float | None
    time: float
    revision: int
    provisional: bool
    final: bool
    dark: NDArray[np.float32] | None
    reference: PreparedReference
    log_scale: float
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mean:
    """Running mean of the dark or flat images of one exposure time (and energy).

    Attributes
    ----------
    image : (H, W) float32, counts; None once a flat has become a `reference`.
    coarse : (h, w) float32, block means of the image, counts.
    n : exposures averaged so far.
    is_open : more flats of this group may come.
    serial : number of the group in the run, so that the same energy measured again is told apart.
    """

    energy: float | None
    exposure: float | None
    image: NDArray[np.float32] | None
    coarse: NDArray[np.float32]
    n: int
    is_open: bool = True
    serial: int = 0
    reference: PreparedReference | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Pending:
    """A sample frame that may get a better value.

    Attributes
    ----------
    revision : of the value handed out last.
    serial : flat group used for it, -1 for an estimated illumination.
    coarse : (h, w) float32, block means of (frame - dark), counts: what a flat of another energy
        is scaled by when the pixels are no longer here.
    """

    key: FrameKey
    frame: int
    energy: float | None
    exposure: float | None
    time: float
    revision: int
    serial: int
    coarse: NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True)
class IlluminationSums:
    """Running sums for the illumination estimate: light of each block when nothing covered it.

    Attributes
    ----------
    weight : (h, w) float64, sum of weights.
    total : (h, w) float64, sum of weight times ln of (counts / bright level of the frame).
    """

    weight: NDArray[np.float64]
    total: NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class CorrectorState:
    """State of the correction of one run.

    Attributes
    ----------
    count : sample frames seen or skipped.
    shape : (H, W) of the frames of this run.
    n_groups : flat groups started so far.
    background : ln transmission of the bright parts of the sample, from the latest frame with its
        own flat; a flat of another energy is scaled so that this stays.
    level : bright level of the latest good sample frames, counts/s (counts if no exposure).
    flats_first : no sample frame came before the first flat.
    """

    count: int = 0
    shape: tuple[int, int] | None = None
    darks: tuple[Mean, ...] = ()
    flats: tuple[Mean, ...] = ()
    n_groups: int = 0
    flats_first: bool = True
    pending: tuple[Pending, ...] = ()
    illumination: IlluminationSums | None = None
    background: float = 0.0
    level: float | None = None
