"""Everything that moves: the stage, the optics, the electrode and each particle by itself."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter1d

from ....models.arrays import Array
from .settings import SimSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class CommonMotion:
    """Motion that all particles share, for F frames.

    Attributes
    ----------
    shift : (F, 2) rigid motion (y, x), px: drift and jitter together.
    drift : (F, 2) its slow part, px.
    linear : (F, 2, 2) linear map of the electrode in (y, x), without magnification.
    strain : (F, 4) strain yy, xx, yx (1) and rotation (rad) behind `linear`.
    """

    shift: Array
    drift: Array
    linear: Array
    strain: Array


def smooth_walk(rng: np.random.Generator, n: int, reach: float) -> Array:
    """Smooth random path in the plane that starts at 0.

    Parameters
    ----------
    rng : source of randomness.
    n : number of frames.
    reach : largest distance from the start, px.

    Returns
    -------
    (n, 2) float64, px.
    """
    if n < 2 or reach == 0:
        return np.zeros((n, 2))
    steps = gaussian_filter1d(rng.standard_normal((n, 2)), max(1.0, n / 12), axis=0, mode="nearest")
    steps += rng.standard_normal(2) * np.abs(steps).mean()
    path = np.cumsum(steps, axis=0)
    path -= path[0]
    return path * reach / np.linalg.norm(path, axis=1).max()


def random_steps(settings: SimSettings, index: int) -> Array:
    """Own random walk of a particle, (F, 2) px, 0 in the first frame; F frames of the series.

    Steps are normal, those beyond three standard deviations are cut to them.
    """
    rng = np.random.default_rng([settings.seed, 12, index])
    steps = np.clip(rng.standard_normal((settings.n_frames, 2)), -3, 3) * settings.steps_px
    steps[0] = 0.0
    return np.cumsum(steps, axis=0)


def own_reach(settings: SimSettings) -> float:
    """How far a particle may get from its place by its own motion, px."""
    count = settings.births + settings.departures + settings.n_particles
    walks = [random_steps(settings, index) for index in range(count)]
    return settings.wander_px + max((np.linalg.norm(w, axis=1).max() for w in walks), default=0.0)


def ramp(n: int) -> Array:
    """Slow start, slow end, 0 to 1 over n frames, (n,)."""
    return 0.5 - 0.5 * np.cos(np.pi * np.linspace(0, 1, n)) if n > 1 else np.zeros(n)


def rotation(angle: Array) -> Array:
    """Rotation matrices (..., 2, 2) in (y, x) for angles in rad (positive turns x towards y)."""
    c, s = np.cos(angle), np.sin(angle)
    return np.stack([np.stack([c, s], -1), np.stack([-s, c], -1)], -2)


def common_motion(
    settings: SimSettings, rng: np.random.Generator, trace: Array | None = None
) -> CommonMotion:
    """Drift, jitter and affine deformation of the whole series.

    Parameters
    ----------
    settings : what to simulate.
    rng : source of randomness.
    trace : (>= F, 2) measured motion (y, x), px, that replaces drift and jitter.

    Raises
    ------
    ValueError
        If the trace is shorter than the series.
    """
    n = settings.n_frames
    drift = smooth_walk(rng, n, settings.drift_px)
    jitter = np.clip(rng.standard_normal((n, 2)), -3, 3) * settings.jitter_px
    jitter[:1] = 0.0
    shift = drift + jitter + _jumps(settings)
    if trace is not None:
        shift = _measured(trace, n)
        drift = gaussian_filter1d(shift, max(1.0, n / 20), axis=0, mode="nearest")
    yy, xx, yx = settings.strain
    progress = ramp(n)
    strain = progress[:, None] * np.array([yy, xx, yx, np.radians(settings.rotation_deg)])
    stretch = np.eye(2) + progress[:, None, None] * np.array([[yy, yx], [yx, xx]])
    return CommonMotion(
        shift=shift, drift=drift, linear=rotation(strain[:, 3]) @ stretch, strain=strain
    )


def _jumps(settings: SimSettings) -> Array:
    """Where the field lies in each scan after the stage came back from elsewhere, (F, 2)."""
    rng = np.random.default_rng([settings.seed, 11])
    jumps = settings.scan_jump_px * np.clip(rng.standard_normal((settings.scans, 2)), -2, 2)
    jumps[0] = 0.0
    return np.repeat(jumps, len(settings.scan_energies), axis=0)


def _measured(trace: Array, n: int) -> Array:
    if len(trace) < n:
        raise ValueError(
            f"motion trace: wanted {n} frames or more, got {len(trace)}; use a longer one"
        )
    path = np.asarray(trace[:n], dtype=np.float64)
    return path - path[0]
