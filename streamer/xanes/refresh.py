"""When maps of a particle are told again: when more is known than they said."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from .reading import Reading
from .settings import XanesSettings
from .state import Particle

_FIRST_SIGMA = 0.1


def due(
    particles: Mapping[int, Particle], readings: Mapping[int, Reading], settings: XanesSettings
) -> tuple[int, ...]:
    """Particles whose maps are told now: those that wait longest, a few in each frame."""
    waited = {p: r.n_energies - particles[p].maps_at for p, r in readings.items()}
    ready = [p for p, r in readings.items() if _wanted(particles[p], r, waited[p], settings)]
    ready.sort(key=lambda p: -waited[p])
    return tuple(ready[: 1 + len(readings) // settings.every])


def turned(particle: Particle, reading: Reading) -> Particle:
    """A particle whose turn it was: what was known then is what more is measured by."""
    sigma = reading.fraction_sigma
    return replace(
        particle,
        maps_at=reading.n_energies,
        maps_sigma=sigma if np.isfinite(sigma) else np.inf,
        maps_edge=reading.curve is not None,
    )


def _wanted(particle: Particle, reading: Reading, waited: int, settings: XanesSettings) -> bool:
    edge = reading.curve is not None
    if waited < settings.soonest or not (edge or reading.fraction_sigma <= _FIRST_SIGMA):
        return False
    better = reading.fraction_sigma * settings.gain <= particle.maps_sigma
    return better or (edge and not particle.maps_edge) or waited >= settings.every
