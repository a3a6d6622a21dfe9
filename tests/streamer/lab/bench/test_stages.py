"""The stages of the core, timed one frame at a time."""

from __future__ import annotations

import numpy as np
import pytest

from operando.streamer.config import load_settings
from operando.streamer.lab.bench.stages import StageTimes, time_stages
from operando.streamer.lab.simulate import SimSettings, simulate_documents

SETTINGS = SimSettings(
    shape=(160, 160), n_particles=3, radius_px=(13, 18), energies=tuple(np.arange(8360.0, 8366.0))
)


def test_each_stage_has_a_time_for_each_frame():
    seen = []
    times, particles = time_stages(
        simulate_documents(SETTINGS, order="flat_first"),
        load_settings("sim_txm"),
        lambda: seen.append(1),
    )
    assert particles == 3
    frames = len(seen)
    assert frames == 6  # the images of a chunk are averaged
    assert {
        "assemble",
        "correct",
        "detect",
        "link",
        "register + align",
        "spectra + maps",
        "documents",
    } <= set(times.stages)
    assert {len(values) for values in times.stages.values()} == {frames}
    assert all(median > 0 for median in times.medians().values())


def test_the_mean_counts_what_is_rare():
    times = StageTimes(stages={"maps": [0.001, 0.001, 0.001, 0.097]})
    assert times.medians()["maps"] == pytest.approx(1.0)
    assert times.means()["maps"] == pytest.approx(25.0)
