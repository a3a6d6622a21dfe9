"""A measured energy stack over an absorption edge, moved by a measured motion.

The stack is Fe L-edge scanning transmission microscopy of vent particles, 123 energies, aligned by
its authors (ALS 11.0.2.2, courtesy of B. Toner and M. Marcus): real noise, scan lines, chemistry
and change of contrast. The motion is what a camera followed in a live specimen. Both together give
real images whose true motion is known, but for what the authors left in.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import h5py
import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import shift as spline_shift

from .....models.arrays import Array
from ....errors import ImportDataError

STACK = Path("stxm-toner-fe2p/71214078.h5")

INCIDENT = Path("stxm-toner-fe2p/71214078_i0.xsp")

TRACE = Path("drift-traces/caiman_ex_rig_shifts.csv")

BELOW_EV, ABOVE_EV = 706.0, 714.0
"""The L3 edge of iron with its white line lies between these."""

_SPLINE_ORDER = 5

_SPLINE_REACH_PX = 2

_HEADER_LINES = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class EnergyStack:
    """One image per energy.

    Attributes
    ----------
    counts : (F, H, W) float32, transmitted counts.
    incident : (F,) float64, counts without sample, in a unit of their own.
    energies : (F,) float64, eV.
    motion : (F, 2) float64, (y, x) px, by which the sample has moved in each image; what the
        authors' alignment left is not in it.
    """

    counts: NDArray[np.float32]
    incident: Array
    energies: Array
    motion: Array

    @property
    def region(self) -> NDArray[np.str_]:
        """(F,) ``below``, ``at`` or ``above`` the edge."""
        above = np.where(self.energies >= ABOVE_EV, "above", "at")
        return np.where(self.energies < BELOW_EV, "below", above)

    @property
    def od(self) -> NDArray[np.float32]:
        """(F, H, W) float32, optical density but for a constant."""
        return (-np.log(self.counts / self.incident[:, None, None])).astype(np.float32)


def load_stack(data: Path) -> EnergyStack:
    """Read the aligned stack from the folder that holds ``stxm-toner-fe2p``.

    Raises
    ------
    ImportDataError
        If it is not there.
    """
    present(data, STACK, INCIDENT)
    with h5py.File(data / STACK) as file:
        counts = np.asarray(file["stack"], dtype=np.float32)
        energies = np.asarray(file["energy_eV"], dtype=np.float64)
    incident = np.loadtxt(data / INCIDENT)
    if not np.array_equal(incident[:, 0], energies):
        raise ImportDataError(f"{data / INCIDENT}: wanted the energies of {STACK.name}")
    return EnergyStack(
        counts=counts, incident=incident[:, 1], energies=energies, motion=np.zeros((len(counts), 2))
    )


def load_trace(data: Path, frames: int, scale: float) -> Array:
    """Read the first frames of a measured motion, (frames, 2) float64, (y, x) px.

    Parameters
    ----------
    data : the folder that holds ``drift-traces``. scale : factor on the motion.

    Raises
    ------
    ImportDataError
        If it is not there, or is too short.
    """
    present(data, TRACE)
    trace = np.loadtxt(data / TRACE, delimiter=",", skiprows=_HEADER_LINES)
    if len(trace) < frames:
        raise ImportDataError(f"{data / TRACE}: wanted {frames} frames, got {len(trace)}")
    return scale * trace[:frames]


def move(stack: EnergyStack, motion: Array, margin: int | None = None) -> EnergyStack:
    """Move the sample in every image, and crop to what has been measured in all of them.

    Counts are resampled once, by a spline of order 5.

    Parameters
    ----------
    motion : (F, 2) float64, (y, x) px, added to where the sample is.
    margin : px cropped on each side; None: the largest motion and the reach of the spline.
        Give that of another motion to get the same field.
    """
    margin = margin_for(motion) if margin is None else margin
    inside = (slice(margin, -margin), slice(margin, -margin))
    moved = [
        (spline_shift(image, by, order=_SPLINE_ORDER, mode="mirror") if by.any() else image)[inside]
        for image, by in zip(stack.counts.astype(np.float64), motion, strict=True)
    ]
    return replace(stack, counts=np.stack(moved).astype(np.float32), motion=stack.motion + motion)


def margin_for(motion: Array) -> int:
    """Width of the border that this motion brings in from outside, px."""
    return int(np.ceil(np.abs(motion).max())) + _SPLINE_REACH_PX


def present(data: Path, *files: Path) -> None:
    """Raise an ImportDataError that names what is missing."""
    missing = [str(file) for file in files if not (data / file).exists()]
    if missing:
        raise ImportDataError(
            f"{data}: wanted {', '.join(missing)}, not there; give the folder of the real data"
        )
