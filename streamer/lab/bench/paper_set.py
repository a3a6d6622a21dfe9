"""The synthetic set of the comparison with Su et al. 2024: documents, frames, truth."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ....models.arrays import Array
from ...config import Settings
from ...core.frames import NamedDocument
from ..evaluate.similarity import adjacent_ssim, od_stack
from ..simulate import SimSettings, Simulator, Truth, simulate_documents
from .estimates import true_paths
from .harness import Progress, no_progress, tracked

Images = NDArray[np.float32]
RIGID = 0
"""Which particle has the rigid motion only."""
QUICK = 20
_DRIFT = 16.0  # px over the whole set; by eye, the paper gives none
_UNIT = 0.1  # px, of the trial steps from which the real ones are scaled
NAME = "Su et al. 2024, on their own set"
PROJECTIONS = 143
PARTICLES = 9
SHAPE = (460, 460)
PEAK_RATIO = (4.37, 2.14)
"""Largest non-rigid over largest rigid motion, vertical and horizontal."""
SIMILARITY = 0.9832
"""Mean similarity of the aligned ROIs of one particle, their number 2; no others are given."""
SPEED_FRAMES = 100
SPEED_SECONDS = 10.0
"""Bound on the time for 100 projections with nine particles, on a Quadro 5000. Whether that
includes finding the particles is not told."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """F frames (H, W) of P particles, the same for every method.

    Attributes
    ----------
    simulator : that made it.
    documents : of the run, all flats before the sample.
    od : (F, H, W) optical density as measured, NaN where invalid; what the peers get.
    clean : (F, H, W) optical density without noise, on which similarity is measured once more.
    oracle, oracle_clean : (F - 1, P) SSIM of adjacent ROIs aligned by the truth.
    """

    simulator: Simulator
    documents: tuple[NamedDocument, ...]
    od: Images
    clean: Images
    oracle: Images
    oracle_clean: Images

    @property
    def truth(self) -> Truth:
        """Return where everything really was."""
        return self.simulator.truth


def make_series(
    simulated: SimSettings, settings: Settings, progress: Progress = no_progress
) -> Series:
    """Simulate a set.

    Parameters
    ----------
    simulated : of the microscope. settings : whose `assemble` and `correct` make the frames.
    progress : is called for each image that is made.
    """
    simulator = Simulator(simulated)
    n = simulator.n_frames
    # a flat, an image and an image without noise of each frame; a dark, and what frames the run
    of = 3 * n + 6
    documents = documents_of(simulator, progress, of)
    od = od_stack(documents, settings)
    clean = np.empty_like(od)
    for frame in tracked(range(n), progress, "simulating", of, start=of - n):
        clean[frame] = np.where(np.isfinite(od[frame]), simulator.od(frame), np.nan)
    best, radius = true_paths(simulator.truth), simulator.truth.radius
    return Series(
        simulator=simulator,
        documents=documents,
        od=od,
        clean=clean,
        oracle=adjacent_ssim(od, best, radius),
        oracle_clean=adjacent_ssim(clean, best, radius),
    )


def documents_of(
    simulator: Simulator, progress: Progress = no_progress, of: int = 1
) -> tuple[NamedDocument, ...]:
    """Render all documents of a run, the flats first."""
    documents = simulate_documents(order="flat_first", simulator=simulator)
    return tuple(tracked(documents, progress, "simulating", of))


# The synthetic set of Su et al. 2024 (doi:10.1107/S1600577524000146), as they describe it.
#
# 143 projections over the Ni K edge of 460 x 460 px with nine particles; global rigid offsets,
# random relative offsets, variation of the background, fluctuation of the noise. One particle has
# the rigid motion only (their black line), which is smooth. What they do not tell is ours:
# amplitudes, noise, sizes. The random offsets add up from frame to frame, since theirs
# accumulate. The one thing they measure of the motion is its peak, non-rigid over rigid, on either
# axis: taken for that of the motion from frame to frame, the one they show by axis.


def paper_set(seed: int, *, quick: bool = False) -> SimSettings:
    """Make settings of the simulator for the set.

    Parameters
    ----------
    seed : of everything random. quick : 20 projections in place of 143, at the same velocity.
    """
    n = QUICK if quick else PROJECTIONS
    settings = SimSettings(
        seed=seed,
        shape=SHAPE,
        n_energies=n,
        n_particles=PARTICLES,
        rigid=1,
        drift_px=_DRIFT * n / PROJECTIONS,
        jitter_px=0.0,
        wander_px=0.0,
        strain=(0.0, 0.0, 0.0),
        rotation_deg=0.0,
        spin_deg=0.0,
        haze=0.03,
        counts_spread=0.3,
        chunk=1,
    )
    return tuned(settings)


def tuned(settings: SimSettings) -> SimSettings:
    """Choose the random steps such that their peaks stand to the rigid motion as published.

    Parameters
    ----------
    settings : without strain, rotation and own wander of the particles.
    """
    bare = settings.model_copy(update={"steps_px": (_UNIT, _UNIT), "background": 0.0})
    truth = Simulator(bare).truth
    common = np.diff(truth.shift, axis=0)
    own = np.diff(truth.yx - truth.shift[:, None], axis=0) / _UNIT
    return settings.model_copy(update={"steps_px": _amplitudes(common, own)})


def _amplitudes(common: Array, own: Array) -> tuple[float, float]:
    """Solve for the factor of the own steps (F - 1, P, 2) at which the peaks are as published.

    The peak of |common + factor * own| is reached where one of its lines first meets the bound.
    """
    bound = np.array(PEAK_RATIO) * np.abs(common).max(axis=0)
    with np.errstate(divide="ignore"):  # the rigid particle takes no steps
        factor = (bound - np.sign(own) * common[:, None]) / np.abs(own)
    y, x = factor.min(axis=(0, 1))
    return float(y), float(x)


def peak_ratio(truth: Truth) -> tuple[float, float]:
    """Compare the largest motion from frame to frame with that of the rigid particle, (y, x)."""
    peaks = np.abs(np.diff(truth.yx, axis=0)).max(axis=0)
    y, x = np.delete(peaks, RIGID, axis=0).max(axis=0) / peaks[RIGID]
    return float(y), float(x)


def typical(truth: Truth) -> int:
    """Choose the particle that is shown: of median radius among those that move by themselves."""
    others = np.delete(np.arange(truth.n_particles), RIGID)
    return int(others[np.argsort(truth.radius[others])[len(others) // 2]])
