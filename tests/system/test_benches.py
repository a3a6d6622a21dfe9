"""The benchmarks of faults as a user runs them, on a small scale."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

pytestmark = [pytest.mark.system, pytest.mark.slow]


def bench(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "operando.streamer.cli", "bench", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )


def test_crash():
    ended = bench(
        *("crash", "--kills", 2, "--energies", 5, "--size", 160, "--particles", 3, "--seed", 3)
    )
    told = ended.stdout + ended.stderr
    assert ended.returncode == 0, told
    assert "2 kills" in told
    assert "bit for bit" in told


def test_overload(tmp_path):
    output = tmp_path / "figures.json"
    ended = bench(
        *("overload", "--seconds", 3, "--queue-mb", 1, "--side", 128, "--particles", 3),
        *("--per-run", 8, "-o", output),
    )
    assert ended.returncode == 0, ended.stderr
    figures = json.loads(output.read_text())
    assert figures["published"] == figures["ledger"]["received"] > 0
    assert figures["unbalanced"] == 0
    assert figures["rss_most"] <= figures["bound"]


def test_soak(tmp_path):
    output = tmp_path / "figures.json"
    ended = bench("soak", "--frames", 200, "--per-run", 20, "--side", 96, "-o", output)
    assert ended.returncode == 0, ended.stderr
    figures = json.loads(output.read_text())
    assert figures
