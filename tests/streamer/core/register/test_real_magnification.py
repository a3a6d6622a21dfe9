"""Magnification of real battery particles between two energies."""

from __future__ import annotations

import numpy as np
import pytest
from helpers.results import collect, table

from operando.streamer.core.register.deformation import scale_between
from operando.streamer.io.importers import import_documents

pytestmark = pytest.mark.data

BELOW, ABOVE = 8324.0, 8354.0
# phase correlation and StackReg of the rims say 0.9969 +- 0.001; a zone plate gives 0.9964
EXPECTED, TOLERANCE = 0.9969, 0.001


@pytest.fixture(scope="module")
def streams(shared_data):
    documents = collect(import_documents(shared_data / "txm-ssrl-nca"), "ssrl_6_2c")
    tables = {}
    for stream in ("frames", "particles"):
        rows = table(documents, stream)
        newest = rows["revision"] == rows.groupby("frame")["revision"].transform("max")
        tables[stream] = rows[newest]
    return tables


def test_scale_between_the_energies(streams):
    rows = streams["particles"]
    seen = rows[(rows["state"] == "tracked") & rows["area"].notna()]
    mean = seen.groupby(["particle", "energy"])[["y", "x", "sigma_y", "sigma_x"]].mean()
    both = mean.unstack("energy").dropna()

    def at(energy, prefix=""):
        return np.column_stack([both[f"{prefix}{axis}"][energy] for axis in ("y", "x")])

    error = np.hypot(at(BELOW, "sigma_"), at(ABOVE, "sigma_"))
    scale, sigma = scale_between(at(BELOW), at(ABOVE), error)
    assert len(both) >= 10
    assert sigma < 0.001
    assert abs(scale - EXPECTED) < TOLERANCE


def test_the_frames_report_it_with_its_sigma(streams):
    frames = streams["frames"].sort_values("frame")
    told = frames[frames["energy"] == ABOVE]
    assert (np.abs(told["magnification"] - EXPECTED) < 2 * TOLERANCE).all()
    # how far the electrode itself has strained meanwhile, nobody knows any better
    assert (told["magnification_sigma"] < 0.006).all()
    assert (frames[frames["energy"] == BELOW]["magnification"] == 1.0).all()
