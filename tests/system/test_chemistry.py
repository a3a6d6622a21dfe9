"""What is promised of the chemistry, of the scan that is like those of the paper."""

from __future__ import annotations

import numpy as np
import pytest

from operando.streamer.config import load_settings
from operando.streamer.lab.bench.chemistry import measure_chemistry
from operando.streamer.lab.simulate.settings import preset

pytestmark = pytest.mark.slow


def test_fractions_edges_and_maps_of_the_paper_like_scan():
    scores = measure_chemistry(preset("paper"), load_settings("sim_txm"))
    assert len(scores) == 9
    assert scores["fraction_error"].abs().max() < 0.02
    assert scores["edge_error"].abs().max() < 0.1
    squares = scores["pixels"] * scores["pixel_rms"] ** 2
    assert np.sqrt(squares.sum() / scores["pixels"].sum()) < 0.05
    assert scores["pixel_rms"].median() < 0.05
