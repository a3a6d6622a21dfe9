"""Frames whose particles are mixtures of two known phases."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pytest

from operando.streamer.core.frames import FrameKey
from operando.streamer.core.register.particle import UNKNOWN
from operando.streamer.core.results import FrameResult, ParticleResult, Status, skipped
from operando.streamer.core.xanes import PhaseReference, XanesSettings, make_basis, make_reference
from operando.streamer.lab.simulate.spectra import OXIDISED, REDUCED, absorption, ni_edge_energies

SETTINGS = XanesSettings(every=10)


def phases(settings: XanesSettings = SETTINGS) -> tuple[PhaseReference, ...]:
    energies = np.arange(8150.0, 8600.0, 0.5)
    return tuple(
        make_reference(name, energies, absorption(energies, shape), settings)
        for name, shape in (("reduced", REDUCED), ("oxidised", OXIDISED))
    )


@dataclass(frozen=True)
class Scene:
    """Discs of OD 1 whose oxidised share runs from `low` at the left to `high` at the right."""

    energies: tuple[float, ...] = ni_edge_energies(60)
    fractions: Mapping[int, tuple[float, float]] = field(
        default_factory=lambda: {3: (0.2, 0.4), 8: (0.7, 0.7)}
    )
    side: int = 48
    radius: float = 14.0
    noise: float = 0.02
    flicker: float = 0.005
    seed: int = 1
    changes: Mapping[tuple[int, int], Callable[[np.ndarray], np.ndarray]] = field(
        default_factory=dict
    )

    @property
    def disc(self) -> np.ndarray:
        axis = np.arange(self.side) - (self.side - 1) / 2
        return np.hypot(axis[:, None], axis[None]) <= self.radius

    def share(self, particle: int) -> np.ndarray:
        low, high = self.fractions[particle]
        across = (np.arange(self.side) - (self.side - 1) / 2) / self.radius
        return np.broadcast_to(
            np.clip((low + high) / 2 + (high - low) / 2 * across, 0, 1), (self.side, self.side)
        )

    def roi(self, frame: int, particle: int, revision: int = 0) -> np.ndarray:
        rng = np.random.default_rng([self.seed, frame, particle, revision])
        energy = self.energies[frame]
        share = self.share(particle)
        mu = (1 - share) * absorption(energy, REDUCED) + share * absorption(energy, OXIDISED)
        common = self.flicker * np.random.default_rng([self.seed, frame, 99]).standard_normal()
        od = 0.1 + np.where(self.disc, mu, 0.0) + common
        od = (od + self.noise * rng.standard_normal(od.shape)).astype(np.float32)
        return self.changes.get((frame, particle), lambda image: image)(od)

    def result(self, frame: int, revision: int = 0, **changes: Any) -> FrameResult:
        key = FrameKey(run="r", stream="primary", data_key="image", seq_num=frame + 1)
        bare = skipped(key, frame, self.energies[frame], 100.0 + frame, "")
        particles = tuple(self.particle(frame, p, revision) for p in self.fractions)
        result = replace(
            bare,
            revision=revision,
            status=Status.ALIGNED,
            particles=particles,
            noise=self.noise,
        )
        return replace(result, **changes)

    def particle(self, frame: int, number: int, revision: int) -> ParticleResult:
        return ParticleResult(
            particle=number,
            state="tracked",
            yx=np.zeros(2),
            sigma=np.full(2, 0.1),
            displacement=np.zeros(2),
            rates=UNKNOWN,
            path=0.0,
            residual=np.zeros(2),
            area=np.pi * self.radius**2,
            od_mean=1.0,
            ssim=1.0,
            roi=self.roi(frame, number, revision),
        )

    def results(self, revision: int = 0) -> list[FrameResult]:
        return [self.result(frame, revision) for frame in range(len(self.energies))]


@pytest.fixture(scope="session")
def basis():
    return make_basis(SETTINGS, phases())


@pytest.fixture(scope="session")
def bare_basis():
    """Without references."""
    return make_basis(SETTINGS)
