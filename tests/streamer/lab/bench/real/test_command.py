"""``operando bench real`` as a user calls it."""

from __future__ import annotations

import json
import sys

import pytest

from operando.streamer.cli import main


def run(monkeypatch, *arguments: str) -> int | str | None:
    monkeypatch.setattr(sys, "argv", ["operando", "bench", "real", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    return ended.value.code


def test_without_data_it_says_what_to_give(monkeypatch, capsys):
    monkeypatch.delenv("OPERANDO_DATA", raising=False)
    assert run(monkeypatch) == 2
    told = capsys.readouterr().err
    assert "--data" in told
    assert "OPERANDO_DATA" in told


def test_a_folder_without_the_data_is_told(monkeypatch, capsys, tmp_path):
    assert run(monkeypatch, "--data", str(tmp_path), "--no-peers") == 1
    assert "stxm-toner-fe2p" in capsys.readouterr().err


@pytest.mark.data
def test_figures_are_written(monkeypatch, capsys, shared_data, tmp_path):
    monkeypatch.setenv("OPERANDO_DATA", str(shared_data))
    monkeypatch.setenv("COLUMNS", "160")
    output, pictures = tmp_path / "real.json", tmp_path / "pictures"
    arguments = ("--part", "nca", "-o", str(output), "--pictures", str(pictures))
    assert run(monkeypatch, *arguments) == 0
    assert "magnification" in capsys.readouterr().out
    assert 0.98 < json.loads(output.read_text())["nca"]["ours"]["similarity"]["scale"] < 1.0
    assert (pictures / "nca.png").is_file()
