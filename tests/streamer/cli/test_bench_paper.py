"""``operando bench paper`` as a user runs it."""

from __future__ import annotations

import pytest


@pytest.mark.slow
def test_a_quick_run_writes_table_and_figure(run_cli, tmp_path):
    arguments = ["--quick", "--no-peers", "--no-speed", "--device", "cpu", "--out", tmp_path]
    ended = run_cli("bench", "paper", *arguments)
    assert ended.status == 0, ended.err
    assert "Su et al. 2024" in ended.out
    assert "ours, classical" in ended.out
    text = (tmp_path / "paper.md").read_text()
    assert "20 projections of 460 x 460 px, 9 particles" in text
    assert (tmp_path / "paper.csv").read_text().startswith("method,")
    assert (tmp_path / "paper.png").stat().st_size > 50_000
