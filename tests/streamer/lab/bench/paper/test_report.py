"""The files of the bench, from the simulator to the table and the figure."""

from __future__ import annotations

import csv

import matplotlib.image
import numpy as np
import pytest
import torch

from operando.streamer.lab.bench.paper import COLUMNS, ORACLE, WAYS, missing
from operando.streamer.lab.bench.paper_report import report, table
from operando.streamer.lab.bench.paper_set import NAME
from operando.streamer.lab.bench.paper_speed import NOT_MEASURED


@pytest.fixture(scope="module")
def paths(result, tmp_path_factory):
    return report(result, quick=True).write(tmp_path_factory.mktemp("bench") / "new")


def test_the_table_has_a_row_for_the_paper_and_each_method(paths, result):
    lines = paths[0].read_text().splitlines()
    names = [NAME, "ours, classical", "off_by_noise", "absolute_template", ORACLE]
    for name in names:
        assert sum(line.startswith(f"| {name} |") for line in lines) == 1
    assert [row[0] for row in table(result).cells()] == names
    assert all(len(row) == len(COLUMNS) + 1 for row in table(result).cells())
    (paper,) = (line for line in lines if line.startswith(f"| {NAME}"))
    assert "0.9832" in paper
    assert "< 10" in paper


def test_what_could_not_run_is_told_with_its_reason(paths):
    text = paths[0].read_text()
    assert "left out: ours, networks: no weights here" in text
    assert "left out: broken: ValueError: no features in frame 3" in text


def test_the_text_tells_what_the_figures_are_of(paths, result):
    text = paths[0].read_text()
    assert "14 projections of 220 x 220 px, 3 particles, seed 3" in text
    assert "4.37 vertical, 2.14 horizontal" in text
    assert '"rigid": 1' in text
    if not torch.cuda.is_available():
        assert NOT_MEASURED in text


def test_the_csv_has_every_figure(paths, result):
    with paths[1].open() as file:
        told = {row["method"]: row for row in csv.DictReader(file)}
    assert told[NAME]["ssim_one"] == "0.9832"
    assert set(told) == {NAME, *result.figures}
    for name, figures in result.figures.items():
        assert float(told[name]["rms"]) == figures["rms"]
    assert told["off_by_noise"]["rms_live"] == ""


def test_the_picture_shows_something(paths):
    image = matplotlib.image.imread(paths[2])
    assert image.shape[0] > 1500
    assert image[..., :3].std() > 0.05


def test_progress_grows_to_the_end(result, steps):
    shares = [done / of for _, done, of in steps]
    assert shares == sorted(shares)
    assert shares[-1] == 1.0
    assert {"simulating", "broken", "ours, classical"} <= {what for what, *_ in steps}
    assert max(shares[:-1]) < 1.0


def test_the_path_of_the_paper_takes_only_centres_of_mass():
    as_published = WAYS[0].settings("sim_txm", {"device": "cpu"})
    assert as_published.detect.kind == "networks"
    assert as_published.link.kind == "ssim"
    assert not as_published.registration.refine
    assert not as_published.registration.whole_scan
    assert as_published.detect.min_diameter_px == 18  # the profile's


def test_a_way_without_its_parts_says_what_is_missing():
    settings = WAYS[2].settings("sim_txm", {"device": "cpu"})
    assert missing(settings) == ""
    other = settings.detect.model_copy(update={"kind": "nowhere"})
    assert "nowhere" in missing(settings.model_copy(update={"detect": other}))


def test_positions_are_told_for_every_frame(result):
    path = result.measured["ours, classical"].paths
    assert np.isfinite(path).all(axis=2).mean() > 0.9
