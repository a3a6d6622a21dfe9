"""Corrected frames with their true silhouettes, and which of these a detector has to find."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.ndimage import uniform_filter

from .....models.arrays import Array
from ....config import Settings
from ...evaluate.raw import od_stack
from ...simulate import SimSettings, Simulator, Truth, simulate_documents

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
_STEP = 1.2
"""Ratio of neighbouring sizes for which the noise is computed."""
_NEAR = 8.0
"""Side of the square over which noise is averaged, radii."""
_LEAST_VALID = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class DetectionScene:
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


def shots(simulated: SimSettings, settings: Settings) -> Iterator[DetectionScene]:
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
) -> DetectionScene:
    truth = simulator.truth
    labels, valid = _silhouettes(simulator, frame, np.isfinite(od))
    contrast = truth.od[frame] / contrast_noise(empty, truth.yx[frame], truth.radius)
    return DetectionScene(
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


# What an empty frame shows where a particle could be: the limit of detection.


def contrast_noise(empty: NDArray[np.float32], yx: ArrayLike, radii: ArrayLike) -> Array:
    """Rms of the contrast that is measured where no particle is, (T,) OD.

    Contrast is the mean over a square of the area of the particle minus the mean over a frame of
    the same area around it; its rms is taken near the place of the particle. Both the shot noise
    and the structure of the background are in it, as both can be mistaken for a particle.

    Parameters
    ----------
    empty : (H, W) optical density of the same frame without any particle, NaN where invalid.
    yx : (T, 2) px. radii : (T,) equal-area radii, px.

    Returns
    -------
    (T,) float64; NaN where next to nothing is valid.
    """
    yx, radii = np.asarray(yx, np.float64).reshape(-1, 2), np.asarray(radii, np.float64)
    last = np.array(empty.shape) - 1
    at = np.clip(np.rint(yx), 0, last).astype(np.int64)
    sizes = np.rint(np.log(radii) / np.log(_STEP))
    noise = np.empty(len(radii))
    for size in np.unique(sizes):
        chosen = sizes == size
        rms = _rms_near(empty, _STEP**size)
        noise[chosen] = rms[tuple(at[chosen].T)]
    return noise


def _rms_near(empty: NDArray[np.float32], radius: float) -> Array:
    """Rms of the contrast of squares of this equal-area radius near each pixel, (H, W)."""
    valid = np.isfinite(empty).astype(np.float64)
    filled = np.nan_to_num(empty.astype(np.float64))
    side = np.sqrt(np.pi) * radius
    inner, outer = (max(round(k * side), n) for k, n in ((1.0, 2), (np.sqrt(2.0), 3)))
    total, weight = (_box_sum(image, inner) for image in (filled, valid))
    wide, wide_weight = (_box_sum(image, outer) for image in (filled, valid))
    ring = wide_weight - weight
    enough = _LEAST_VALID * inner**2, _LEAST_VALID * (outer**2 - inner**2)
    usable = (weight >= enough[0]) & (ring >= enough[1])
    contrast = total / np.maximum(weight, 1) - (wide - total) / np.maximum(ring, 1)
    near = round(_NEAR * radius)
    count = _box_sum(usable.astype(np.float64), near)
    square = _box_sum(np.where(usable, contrast**2, 0.0), near)
    # running sums leave a rounding error where there is nothing
    return np.where(count > 0.5, np.sqrt(np.maximum(square, 0) / np.maximum(count, 1)), np.nan)


def _box_sum(image: Array, side: int) -> Array:
    """Sums over squares; nothing is beyond the frame."""
    return uniform_filter(image, side, mode="constant") * side**2
