"""The demo as a user runs it, with few energies."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

pytestmark = [pytest.mark.system, pytest.mark.slow]


def test_the_demo_scans_compares_and_draws(tmp_path):
    command = [sys.executable, "-m", "operando.streamer.cli", "demo", "--dir", str(tmp_path)]
    done = subprocess.run(
        [*command, "--energies", "12", "--rate", "3", "--chunk", "1"],
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (rms,) = re.findall(r"position rms ([\d.]+) px", done.stdout)
    assert float(rms) < 0.35
    text = " ".join(done.stdout.split())
    assert "identity switches 0" in text
    assert "'received': 12, 'aligned': 12" in text
    assert "'balanced': True" in text
    assert "oxidised fraction and edge" in text
    assert "watch it live in a browser: http://127.0.0.1:" in text
    (picture,) = tmp_path.rglob("report.png")
    assert picture.stat().st_size > 50_000
