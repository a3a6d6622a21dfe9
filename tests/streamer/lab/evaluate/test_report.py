"""The report must come out whatever is known, and show what it was given."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.ndimage import shift as shifted
from skimage.io import imread

from operando.streamer.lab.evaluate import score
from operando.streamer.lab.evaluate.report import ReportData, draw_report, save_report
from operando.streamer.lab.simulate import SimSettings, Simulator


@pytest.fixture(scope="module")
def run():
    sim = Simulator(
        SimSettings(n_energies=8, shape=(140, 150), n_particles=2, radius_px=(12.0, 16.0))
    )
    truth = sim.truth
    raw = np.stack([sim.od(k) for k in range(8)])
    aligned = np.stack(
        [
            shifted(image, -s, order=1, cval=np.nan)
            for image, s in zip(raw, truth.shift, strict=True)
        ]
    )
    frame, particle = np.nonzero(truth.visible)
    rows = pd.DataFrame(
        {
            "frame": frame,
            "energy": truth.energies[frame],
            "particle": particle,
            "y": truth.yx[frame, particle, 0],
            "x": truth.yx[frame, particle, 1],
            "area": np.pi * truth.radius[particle] ** 2,
            "od_mean": truth.od[frame, particle],
            "state": "tracked",
            "revision": 0,
        }
    )
    return raw, aligned, rows, truth


def titles(figure):
    return " / ".join(axes.get_title() for axes in figure.axes)


def test_full_report(run, tmp_path):
    raw, aligned, rows, truth = run
    data = ReportData(
        raw=raw, aligned=aligned, particles=rows, truth=truth, score=score(rows, truth)
    )
    picture = imread(save_report(data, tmp_path / "report.png", dpi=60))
    assert picture.shape[0] > 500
    assert picture[..., :3].std() > 10
    text = titles(draw_report(data))
    for expected in ("raw", "aligned", "relative to all others", "position error", "minus"):
        assert expected in text


def test_without_truth_or_optional_columns(run):
    raw, aligned, rows, _ = run
    bare = rows[["frame", "particle", "y", "x", "state", "revision"]]
    text = titles(draw_report(ReportData(raw=raw, aligned=aligned, particles=bare)))
    assert "distance from the first position" in text


def test_highest_revision_is_shown(run):
    raw, aligned, rows, _ = run
    wrong = rows.assign(y=rows["y"] + 50)
    figure = draw_report(
        ReportData(raw=raw, aligned=aligned, particles=pd.concat([wrong, rows.assign(revision=1)]))
    )
    plain = draw_report(ReportData(raw=raw, aligned=aligned, particles=rows))
    lines = [f.axes[4 * 2 - 2] for f in (figure, plain)]
    np.testing.assert_equal(lines[0].images[0].get_array(), lines[1].images[0].get_array())


def test_unusable_input_is_refused(run):
    raw, aligned, rows, _ = run
    with pytest.raises(ValueError, match="no measured position"):
        draw_report(ReportData(raw=raw, aligned=aligned, particles=rows.assign(state="coasting")))
    with pytest.raises(ValueError, match="raw frames are"):
        draw_report(ReportData(raw=raw[:, :100], aligned=aligned, particles=rows))
