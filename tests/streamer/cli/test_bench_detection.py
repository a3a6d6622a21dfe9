"""``operando bench detection`` as a user runs it."""

from __future__ import annotations

import json


def test_unknown_names_are_refused_with_a_reason(run_cli):
    ended = run_cli("bench", "detection", "--regime", "nonsense")
    assert ended.status == 1
    assert "'nonsense'; choose from above, at" in ended.err
    ended = run_cli("bench", "detection", "--detector", "nonsense")
    assert ended.status == 1
    assert "'nonsense' cannot be made" in ended.err


def test_one_quick_regime(run_cli, tmp_path):
    arguments = ["--quick", "--regime", "above", "--detector", "threshold", "-o", tmp_path]
    ended = run_cli("bench", "detection", *arguments)
    assert ended.status == 0, ended.err
    assert "above" in ended.out
    assert "not asked for" in ended.out
    content = json.loads((tmp_path / "detection.json").read_text())
    assert content["regimes"]["above"]["detectors"]["threshold"]["score"]["f1"] > 0.9
    assert (tmp_path / "detection.csv").read_text().startswith("regime,detector,")
    assert (tmp_path / "detection.png").stat().st_size > 20_000
