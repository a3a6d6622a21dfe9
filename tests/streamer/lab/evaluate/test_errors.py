"""Measured positions by true particle."""

from __future__ import annotations

import numpy as np
import pandas as pd

from operando.streamer.lab.evaluate import score
from operando.streamer.lab.evaluate.matching import positions
from operando.streamer.lab.simulate import SimSettings, Simulator


def test_positions_of_a_score():
    sim = Simulator(SimSettings(n_energies=6, n_particles=3, hidden=1, hidden_frames=2))
    frame, particle = np.nonzero(sim.truth.visible)
    yx = sim.truth.yx[frame, particle] + [0.5, -0.25]
    rows = pd.DataFrame(
        {
            "frame": frame,
            "particle": 9 - particle,
            "y": yx[:, 0],
            "x": yx[:, 1],
            "state": "tracked",
            "revision": 0,
        }
    )
    found = positions(score(rows, sim.truth).errors, sim.truth)
    np.testing.assert_allclose(
        found, np.where(sim.truth.visible[..., None], sim.truth.yx + [0.5, -0.25], np.nan)
    )
