"""Corrected frames with their true silhouettes, and which of these a detector has to find."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ...config import Settings
from ...evaluate.raw import od_stack
from ...simulate import SimSettings, Simulator, Truth, simulate_documents
from .visible import contrast_noise

LEAST_CONTRAST = 5.0
"""Contrast below which a particle is not asked for, in units of `contrast_noise`: what it takes to
be told from the noise of a whole frame (Rose 1948, doi:10.1364/JOSA.38.000196)."""
LEAST_VALID = 0.99
"""Share of a silhouette that must be valid pixels, else it counts as cut."""

REASONS = ("cut", "small", "faint")
"""Why a particle in the frame is not asked for."""
RULES = (
    "Particles are not asked for if they are cut by the rim of the frame, or by "
    f"invalid pixels ({1 - LEAST_VALID:.0%} of the silhouette or more); smaller (disc of equal "
    "area) than detect.min_diameter_px; or invisible: mean OD of the particle below "
    f"{LEAST_CONTRAST:g} times the rms contrast that the same frame without any particle shows "
    "near that place, at that size. What lies by half or more on such a particle is not counted."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Shot:
    """One frame and its T true particles.

    Attributes
    ----------
    seed, energy : of the simulation, eV.
    od : (H, W) float32 optical density, NaN where invalid.
    labels : (H, W) int32, ``i + 1`` where the silhouette of truth ``i`` is.
    yx : (T, 2) true centres of mass, px.
    present : (T,) bool, it is in the frame, at least partly.
    cut, small, faint : (T,) bool, why it is not asked for.
    contrast : (T,) mean OD over `contrast_noise`, 1.
    """

    seed: int
    energy: float
    od: NDArray[np.float32]
    labels: NDArray[np.int32]
    yx: NDArray[np.float64]
    present: NDArray[np.bool_]
    cut: NDArray[np.bool_]
    small: NDArray[np.bool_]
    faint: NDArray[np.bool_]
    contrast: NDArray[np.float64]

    @property
    def required(self) -> NDArray[np.bool_]:
        """(T,) bool, a detector has to find it."""
        return self.present & ~(self.cut | self.small | self.faint)

    def excused(self) -> dict[str, int]:
        """How many of those in the frame are not asked for, by `REASONS`."""
        return {why: int((getattr(self, why) & self.present).sum()) for why in REASONS}


def shots(simulated: SimSettings, settings: Settings) -> Iterator[Shot]:
    """Simulate one sample, correct its frames as the processor does, and look up the truth.

    Parameters
    ----------
    simulated : of the microscope. settings : `assemble`, `correct`, and the least diameter.
    """
    simulator = Simulator(simulated)
    frames = od_stack(simulate_documents(order="flat_first", simulator=simulator), settings)
    nothing = {"n_particles": 0, "births": 0, "departures": 0, "hidden": 0}
    # the seeds of light, background and camera do not depend on the particles
    alike = Simulator(simulated.model_copy(update=nothing))
    empty = od_stack(simulate_documents(order="flat_first", simulator=alike), settings)
    for frame, (od, without) in enumerate(zip(frames, empty, strict=True)):
        yield _shot(simulator, frame, od, without, settings.detect.min_diameter_px)


def _shot(
    simulator: Simulator,
    frame: int,
    od: NDArray[np.float32],
    empty: NDArray[np.float32],
    least: float,
) -> Shot:
    truth = simulator.truth
    labels, valid = _silhouettes(simulator, frame, np.isfinite(od))
    contrast = truth.od[frame] / contrast_noise(empty, truth.yx[frame], truth.radius)
    return Shot(
        seed=simulator.settings.seed,
        energy=float(truth.energies[frame]),
        od=od,
        labels=labels,
        yx=truth.yx[frame],
        present=truth.visible[frame],
        cut=truth.cut[frame] | (valid < LEAST_VALID),
        small=2 * truth.radius < least,
        faint=~(contrast >= LEAST_CONTRAST),  # also where nothing is known of the noise
        contrast=contrast,
    )


def _silhouettes(
    simulator: Simulator, frame: int, usable: NDArray[np.bool_]
) -> tuple[NDArray[np.int32], NDArray[np.float64]]:
    """Labels (H, W), and the share of each silhouette that is usable, (T,).

    Where two overlap by a pixel, as touching ones do, it belongs to the smaller.
    """
    truth: Truth = simulator.truth
    labels = np.zeros(usable.shape, np.int32)
    valid = np.zeros(truth.n_particles)
    for particle in np.argsort(-truth.radius):
        mask = simulator.mask(frame, int(particle))
        labels[mask] = particle + 1
        valid[particle] = usable[mask].mean() if mask.any() else 0.0
    return labels, valid
