"""Real battery particles at the Ni edge, from the files of the microscope to trajectories."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

pytestmark = [pytest.mark.data, pytest.mark.system]

BELOW, ABOVE = 8324.0, 8354.0
# displacement of the image between the two energies, measured by phase correlation of OD edges
EXPECTED_YX = np.array([20.1, 10.0])


def operando(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "operando.streamer.cli", *arguments],
        capture_output=True,
        text=True,
        timeout=200,
    )


@pytest.fixture(scope="module")
def imported(shared_data, tmp_path_factory):
    output = tmp_path_factory.mktemp("nca") / "nca.msgpack"
    ended = operando("import", str(shared_data / "txm-ssrl-nca"), "-o", str(output))
    assert ended.returncode == 0, ended.stderr
    return output, ended.stderr


def test_truncated_files_are_named_and_skipped(imported, shared_data):
    _, told = imported
    skipped = [line for line in told.splitlines() if line.startswith("skipped ")]
    truncated = sorted((shared_data / "txm-ssrl-nca" / "corrupt").glob("*.xrm"))
    assert len(skipped) == len(truncated) == 2
    for path in truncated:
        assert sum(path.name in line for line in skipped) == 1
    assert "26 files read, 2 skipped" in told


@pytest.mark.parametrize("profile", ["ssrl_6_2c", None])
def test_particles_are_followed_over_the_edge(imported, results, tmp_path, profile):
    recording, _ = imported
    output = tmp_path / "results.msgpack"
    chosen = ["--profile", profile] if profile else []
    ended = operando("replay", str(recording), "--speed", "max", "-o", str(output), *chosen)
    assert ended.returncode == 0, ended.stderr
    found = results.of_recording(output)
    ledger = found.stop["ledger"]
    assert ledger["balanced"]
    assert ledger["received"] == 6
    assert ledger["skipped"] == {}

    rows = found.particles
    final = rows[rows["revision"] == rows.groupby("frame")["revision"].transform("max")]
    assert set(final["frame"]) == set(range(6))
    seen = final[(final["state"] == "tracked") & final["area"].notna()]
    places = seen.groupby(["particle", "energy"])[["y", "x"]].mean().unstack("energy").dropna()
    assert len(places) >= 6, places
    moved = np.stack([places[axis][ABOVE] - places[axis][BELOW] for axis in ("y", "x")])
    off = np.median(moved, axis=1) - EXPECTED_YX
    assert np.abs(off).max() <= 1.5, (moved.T, off)
