"""The synthetic set of Su et al. 2024 (doi:10.1107/S1600577524000146), as they describe it.

143 projections over the Ni K edge of 460 x 460 px with nine particles; global rigid offsets, random
relative offsets, variation of the background, fluctuation of the noise. One particle has the rigid
motion only (their black line), which is smooth. What they do not tell is ours: amplitudes, noise,
sizes. The random offsets add up from frame to frame, since theirs accumulate. The one thing they
measure of the motion is its peak, non-rigid over rigid, on either axis: taken for that of the
motion from frame to frame, the one they show by axis.
"""

from __future__ import annotations

import numpy as np

from ....models.arrays import Array
from ...simulate import SimSettings, Simulator, Truth
from . import published

RIGID = 0
"""Which particle has the rigid motion only."""

QUICK = 20
_DRIFT = 16.0  # px over the whole set
_UNIT = 0.1  # px


def paper_set(seed: int, *, quick: bool = False) -> SimSettings:
    """Settings of the simulator for the set.

    Parameters
    ----------
    seed : of everything random. quick : 20 projections in place of 143, at the same velocity.
    """
    n = QUICK if quick else published.PROJECTIONS
    settings = SimSettings(
        seed=seed,
        shape=published.SHAPE,
        n_energies=n,
        n_particles=published.PARTICLES,
        rigid=1,
        drift_px=_DRIFT * n / published.PROJECTIONS,
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
    """Factor of the own steps (F - 1, P, 2) on either axis at which the peak is as published.

    The peak of |common + factor * own| is reached where one of its lines first meets the bound.
    """
    bound = np.array(published.PEAK_RATIO) * np.abs(common).max(axis=0)
    with np.errstate(divide="ignore"):  # the rigid particle takes no steps
        factor = (bound - np.sign(own) * common[:, None]) / np.abs(own)
    y, x = factor.min(axis=(0, 1))
    return float(y), float(x)


def peak_ratio(truth: Truth, rigid: int = RIGID) -> tuple[float, float]:
    """Largest motion from frame to frame of all other particles over that of one, (y, x)."""
    peaks = np.abs(np.diff(truth.yx, axis=0)).max(axis=0)
    y, x = np.delete(peaks, rigid, axis=0).max(axis=0) / peaks[rigid]
    return float(y), float(x)


def typical(truth: Truth) -> int:
    """The particle that is shown: of median radius among those with motion of their own."""
    others = np.delete(np.arange(truth.n_particles), RIGID)
    return int(others[np.argsort(truth.radius[others])[len(others) // 2]])
