"""Motion of the simulator's particles as positions with known errors, without any image."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from operando.streamer.core.register import motion
from operando.streamer.core.register.motion import (
    FieldMotion,
    FrameMeasurement,
    MotionState,
    PositionMeasurement,
)
from operando.streamer.core.register.settings import RegisterSettings
from operando.streamer.lab.simulate import Simulator, Truth, preset


@dataclass(frozen=True)
class Followed:
    truth: Truth
    state: MotionState
    fields: list[FieldMotion]


def follow(seed, *, sigma=0.1, missing=0.0, wrong=0.0, settings=None, **changes) -> Followed:
    """Positions with sigmas between half and twice `sigma` px, some missing or wrong by 8 px."""
    truth = Simulator(preset("paper", seed=seed, **changes)).truth
    rng = np.random.default_rng([seed, 77])
    sigmas = sigma * rng.uniform(0.5, 2, (truth.n_particles, 2))
    settings = settings or RegisterSettings()
    state, fields = motion.init(), []
    for frame in range(truth.n_frames):
        measured = []
        for i in np.flatnonzero(truth.whole[frame]):
            yx = truth.yx[frame, i] + rng.normal(0, sigmas[i])
            yx += rng.normal(0, 8, 2) if frame and rng.random() < wrong else 0
            seen = frame == 0 or rng.random() >= missing
            measured.append(
                PositionMeasurement(
                    particle=int(i), yx=yx, sigma=sigmas[i], seen=bool(seen), cut=False
                )
            )
        now = FrameMeasurement(
            frame=frame,
            time=4.2 * frame,
            energy=float(truth.energies[frame]),
            shape=(int(truth.shape[0]), int(truth.shape[1])),
            measured=tuple(measured),
        )
        state, field = motion.update(state, now, settings)
        fields.append(field)
    return Followed(truth, state, fields)


@pytest.fixture(scope="session")
def followed():
    """Return `follow`, as a fixture."""
    return follow
