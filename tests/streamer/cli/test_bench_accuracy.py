"""``operando bench accuracy`` as a user runs it."""

from __future__ import annotations

import json

import pytest


def test_an_unknown_regime_is_refused_with_the_names(run_cli):
    ended = run_cli("bench", "accuracy", "--regime", "nonsense")
    assert ended.status == 1
    assert "'nonsense'; choose from paper, calm" in ended.err


@pytest.mark.slow
def test_one_quick_regime(run_cli, tmp_path):
    arguments = ["--quick", "--regime", "calm", "--no-peers", "--seed", "1", "-o", tmp_path]
    ended = run_cli("bench", "accuracy", *arguments)
    assert ended.status == 0, ended.err
    assert "calm" in ended.out
    content = json.loads((tmp_path / "accuracy.json").read_text())
    assert content["regimes"]["calm"]["estimates"]["ours, final"]["rms"] < 0.12
    assert (tmp_path / "accuracy.md").exists()
    assert (tmp_path / "accuracy.png").stat().st_size > 20_000
