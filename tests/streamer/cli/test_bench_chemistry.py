"""``operando bench chemistry`` as a user runs it."""

from __future__ import annotations

import pandas as pd
import pytest


@pytest.mark.slow
def test_a_short_scan_is_judged_and_written(run_cli, tmp_path):
    written = tmp_path / "chemistry.csv"
    ended = run_cli("bench", "chemistry", "--preset", "calm", "--energies", "30", "-o", written)
    assert ended.status == 0, ended.err
    assert "fractions, 1; edges, eV" in ended.out
    scores = pd.read_csv(written)
    assert len(scores) == 9
    assert scores["fraction_error"].abs().max() < 0.05
    assert scores["pixels"].min() > 100
