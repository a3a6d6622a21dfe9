"""A measured energy stack over an absorption edge, moved by a measured motion, as a run.

The stack is Fe L-edge scanning transmission microscopy of vent particles, 123 energies, aligned by
its authors (ALS 11.0.2.2, courtesy of B. Toner and M. Marcus): real noise, scan lines, chemistry
and change of contrast. The motion is what a camera followed in a live specimen. Both together give
real images whose true motion is known, but for what the authors left in.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import h5py
import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import shift as spline_shift

from ....models.arrays import Array
from ...config import Settings, load_settings
from ...core.frames import NamedDocument, Role
from ...errors import FrameError, ImportDataError
from ...io.importers.documents import Progress as ImportProgress
from ...io.importers.documents import documents
from ...io.importers.plan import Exposure, ImportPlan
from .harness import ResultRows, process

STACK = Path("stxm-toner-fe2p/71214078.h5")
INCIDENT = Path("stxm-toner-fe2p/71214078_i0.xsp")
TRACE = Path("drift-traces/caiman_ex_rig_shifts.csv")
BELOW_EV, ABOVE_EV = 706.0, 714.0
"""The L3 edge of iron with its white line lies between these."""
_SPLINE_ORDER = 5
_SPLINE_REACH_PX = 2  # (order - 1) / 2: beyond it the spline does not see the rim
_HEADER_LINES = 1
_PERIOD_S = 60.0  # by eye: from image to image


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
        """Return where each of the F energies lies: ``below``, ``at`` or ``above`` the edge."""
        above = np.where(self.energies >= ABOVE_EV, "above", "at")
        return np.where(self.energies < BELOW_EV, "below", above)

    @property
    def od(self) -> NDArray[np.float32]:
        """Return the optical density (F, H, W) float32 but for a constant."""
        return (-np.log(self.counts / self.incident[:, None, None])).astype(np.float32)


def present(data: Path, *files: Path) -> None:
    """Raise an ImportDataError that names what is missing."""
    missing = [str(file) for file in files if not (data / file).exists()]
    if missing:
        raise ImportDataError(
            f"{data}: wanted {', '.join(missing)}, not there; give the folder of the real data"
        )


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
    """Work out the width of the border that this motion brings in from outside, px."""
    return int(np.ceil(np.abs(motion).max())) + _SPLINE_REACH_PX


def stack_documents(
    stack: EnergyStack, progress: ImportProgress | None = None
) -> Iterator[NamedDocument]:
    """Yield an energy stack as a Bluesky run: per energy its flat, then its image, in-line.

    Parameters
    ----------
    progress : called with (images done, images in all).
    """
    shape = stack.counts.shape
    flats = np.broadcast_to(stack.incident[:, None, None].astype(np.float32), shape)
    shots = [
        Exposure(
            role=role,
            energy=float(energy),
            exposure=None,
            time=frame * _PERIOD_S,
            source=Path("stack"),
            read=lambda image=images[frame]: np.ascontiguousarray(image),
        )
        for frame, energy in enumerate(stack.energies)
        for role, images in ((Role.FLAT, flats), (Role.SAMPLE, stack.counts))
    ]
    identity = f"{shape}:{stack.motion.tobytes().hex()}"
    plan = ImportPlan(importer="stack", identity=identity, sample="stack", shots=tuple(shots))
    yield from documents(plan, progress=progress)


def stxm_settings(device: str | None = None) -> Settings:
    """Load settings for 125 x 125 px of vent particles at 80 nm/px, chosen by eye.

    Two things in the field have a closed rim: a ball of 1 um that holds no iron and a sphere of
    2 um in touch with an aggregate. Around them lie clouds of iron, which become the densest of
    the background at the edge: hence the low thresholds.
    """
    overrides = {
        "profile": "bench_stxm",
        # counted photons: no dark, no camera whose rim were bad
        "correct": {"rim": 0},
        "detect": {
            "min_diameter_px": 10,
            "max_diameter_px": 40,
            "background_px": 24,
            "snr": 2.0,
            "min_relative_contrast": 0.02,
        },
        # the field is too small for the jumps of a stage that travels
        "link": {"max_jump_px": 12, "coast_frames": 20},
    }
    if device:
        overrides["process"] = {"device": device}
    return load_settings(None, overrides)


def process_found(stream: Iterable[NamedDocument], settings: Settings) -> ResultRows:
    """Process the documents of a run one by one, as when they come live.

    Raises
    ------
    FrameError
        If no particle was found in any frame.
    """
    rows = process(stream, settings)
    if rows.table("particles").empty:
        n = len(rows.table("frames"))
        raise FrameError(f"no particle in {n} frames; see the detector settings")
    return rows
