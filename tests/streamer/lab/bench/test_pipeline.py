"""The stages of the core, timed one frame at a time, and the way of a frame through the code."""

from __future__ import annotations

import numpy as np
import pytest

from operando.streamer.config import load_settings
from operando.streamer.lab.bench.pipeline import (
    StageTimes,
    table,
    time_stages,
    trace_frame,
)
from operando.streamer.lab.simulate import SimSettings, simulate_documents

SETTINGS = SimSettings(
    shape=(160, 160), n_particles=3, radius_px=(13, 18), energies=tuple(np.arange(8360.0, 8366.0))
)

MOST = {"files": 58, "functions": 367, "changes": 245}
"""What one frame may pass from its document to the result documents: measured; only lower it."""


def test_each_stage_has_a_time_for_each_frame():
    seen = []
    times, particles = time_stages(
        simulate_documents(SETTINGS, order="flat_first"),
        load_settings("sim_txm"),
        lambda *step: seen.append(step),
        6,
    )
    assert particles == 3
    frames = len(seen)
    assert seen[-1] == ("frames", 6, 6)
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


def test_stages_and_their_sum_stand_in_one_table():
    figures = {"small": {"ms": {"link": 1.0, "maps": 2.0}, "mean_ms": {"link": 1.5, "maps": 4.0}}}
    assert table(figures, "cpu").cells() == [
        ["link", "1.0 (1.5)"],
        ["maps", "2.0 (4.0)"],
        ["total", "3.0 (5.5)"],
    ]


def test_a_frame_passes_few_files_and_functions():
    path = trace_frame()
    assert path.files > 20
    for name, most in MOST.items():
        assert getattr(path, name) <= most, name
