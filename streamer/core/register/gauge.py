"""The declared choice that separates drift from mean deformation.

From particles alone, only jitter and motion relative to each other are determined: a slow motion
that all share may be drift of the stage, or deformation of the electrode. What is called drift is
therefore declared, told with the results, and can be changed afterwards with `regauge`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ....models.arrays import Array
from .background import Found
from .drift import Drift
from .settings import RegisterSettings

ROBUST_MEAN = "robust-mean"

PARTICLE = "particle"

BACKGROUND = "background"


@dataclass(frozen=True, slots=True, kw_only=True)
class Gauge:
    """Which choice gave the drift of a frame.

    Attributes
    ----------
    name : robust-mean, particle or background.
    reason : why it is not the one that was declared: particle_unseen, no_template,
        no_background, poor_peak, no_peak; "" if it is.
    """

    name: str
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Usable:
    """The N particles of a frame that may tell its drift; arrays are (N, 2) float64.

    Attributes
    ----------
    yx : px, a known magnification divided out. noise : its variance, px^2.
    reference : position in the frame of the electrode, px. reference_noise : its variance, px^2.
    residual : motion beyond drift so far, px. memory : its variance, px^2.
    """

    particle: tuple[int, ...]
    yx: Array
    noise: Array
    reference: Array
    reference_noise: Array
    residual: Array
    memory: Array


def choose(
    settings: RegisterSettings, usable: Usable, mean: Drift, background: Found | None
) -> tuple[Drift, Gauge]:
    """Drift in the declared gauge, or the robust mean where that cannot say.

    Parameters
    ----------
    settings : declare the gauge.
    usable : particles of the frame.
    mean : their common motion beyond their own, in the gauge so far.
    background : what the background told, None if it was not asked.
    """
    if settings.gauge == PARTICLE:
        return _named(settings.gauge_particle, usable, mean)
    if settings.gauge == BACKGROUND:
        return _behind(background, mean)
    return mean, Gauge(name=ROBUST_MEAN)


def _named(particle: int, usable: Usable, mean: Drift) -> tuple[Drift, Gauge]:
    if particle not in usable.particle:
        return mean, Gauge(name=ROBUST_MEAN, reason="particle_unseen")
    row = usable.particle.index(particle)
    drift = Drift(
        yx=usable.yx[row] - usable.reference[row],
        sigma=np.sqrt(usable.noise[row]),
        steps=mean.steps,
    )
    return drift, Gauge(name=PARTICLE)


def _behind(found: Found | None, mean: Drift) -> tuple[Drift, Gauge]:
    if found is None or found.reason:
        return mean, Gauge(name=ROBUST_MEAN, reason=found.reason if found else "no_template")
    return Drift(yx=found.yx, sigma=found.sigma, steps=mean.steps), Gauge(name=BACKGROUND)
