"""Files and tables of the bench."""

from __future__ import annotations

import json

import matplotlib.image
import numpy as np
import pytest

from operando.streamer.lab.bench.accuracy import OURS
from operando.streamer.lab.bench.accuracy_report import COLUMNS, SUMMARY, best_peer, report, summary
from operando.streamer.lab.bench.harness import Column


@pytest.fixture(scope="module")
def paths(result, settings, tmp_path_factory):
    folder = tmp_path_factory.mktemp("bench") / "new"
    return report([result], settings, seed=4, quick=True).write(folder)


def test_the_json_has_every_figure_and_what_made_it(paths, result, settings):
    content = json.loads(paths[0].read_text(), parse_constant=lambda name: pytest.fail(name))
    assert content["seed"] == 4
    assert content["quick"] is True
    assert content["processor"] == {"profile": "sim_txm", "settings_sha256": settings.sha256}
    assert content["versions"]["numpy"] == np.__version__
    told = content["regimes"]["tiny"]
    assert told["simulated"]["n_particles"] == 3
    assert len(told["simulated_sha256"]) == 64
    assert told["ledgers"][0]["balanced"]
    assert told["estimates"][OURS[1]]["rms"] == result.figures[OURS[1]]["rms"]
    assert told["estimates"]["broken"]["rms"] is None
    assert told["failures"] == dict(result.failures)
    ours = set(told["estimates"][OURS[1]])
    assert ours >= {column.key for column in COLUMNS}


def test_the_markdown_has_a_row_for_every_estimator(paths, result):
    lines = paths[1].read_text().splitlines()
    for name in result.figures:
        assert sum(line.startswith(f"| {name} |") for line in lines) == 2
    rms = f"{result.figures[OURS[1]]['rms']:.3f}"
    assert any(line.startswith(f"| {OURS[1]} | {rms} |") for line in lines)
    assert "- broken failed: ValueError: no features in frame 3" in lines
    tables = [line for line in lines if line.startswith("|")]
    assert all(line.endswith("|") for line in tables)


def test_the_picture_shows_something(paths):
    image = matplotlib.image.imread(paths[2])
    assert image.shape[0] > 1000
    assert image[..., :3].std() > 0.05


def test_the_summary_names_the_best_peer(result):
    assert best_peer(result) == "near_truth"
    assert best_peer(result, from_truth=True) is None
    (row,) = summary([result]).cells()
    assert len(row) == len(SUMMARY)
    assert row[0] == "tiny"
    assert row[-2].endswith("(near_truth)")
    assert row[-1] == "-"


def test_figures_that_are_not_there_are_dashes():
    column = Column("rms", "rms", ".3f", "px")
    assert [column.text(v) for v in (0.12345, float("nan"), None)] == ["0.123", "-", "-"]
