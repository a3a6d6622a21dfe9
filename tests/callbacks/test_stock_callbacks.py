"""The callbacks of bluesky, fed by a real processor."""

from __future__ import annotations

import logging

import matplotlib.pyplot as plt
import numpy as np
import pytest
from bluesky.callbacks.best_effort import BestEffortCallback
from bluesky.callbacks.core import CallbackBase, LiveTable
from bluesky.callbacks.mpl_plotting import LivePlot
from helpers.results import events

from operando.callbacks import OneStream
from operando.streamer.core.view import init, update


@pytest.fixture(autouse=True)
def _no_figures_and_no_errors(caplog):
    plt.close("all")
    plt.switch_backend("Agg")
    with caplog.at_level(logging.WARNING, "bluesky"), plt.rc_context({"figure.dpi": 20}):
        yield
    plt.close("all")
    assert not caplog.records  # these callbacks log their own exceptions


def rows(printed):
    """Cells of the lines of a table."""
    lines = [line for line in printed if line.startswith("|") and "seq_num" not in line]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def lines():
    """Data of all curves, by the label of their y axis."""
    axes = [axis for number in plt.get_fignums() for axis in plt.figure(number).axes]
    return {a.get_ylabel(): (a.lines[0].get_xdata(), a.lines[0].get_ydata()) for a in axes}


@pytest.mark.parametrize("stream", ["frames", "particles"])
def test_a_table_of_a_stream(result_documents, stream):
    printed = []
    fields = {
        "frames": ["frame", "energy", "drift_y", "status", "n_particles"],
        "particles": ["frame", "particle", "state", "y", "x"],
    }[stream]
    table = LiveTable(fields, stream_name=stream, out=printed.append)
    for name, doc in result_documents:
        table(name, doc)
    told = rows(printed)
    assert len(told) == len(events(result_documents, stream))
    last = events(result_documents, stream)[-1]["data"]
    assert told[-1][2] == str(last["frame"])
    assert "generator operando" in "".join(printed)


def test_best_effort_callback_as_it_comes(result_documents, capsys):
    callback = BestEffortCallback()
    for name, doc in result_documents:
        callback(name, doc)
    assert "New stream: 'frames'" in capsys.readouterr().out
    curves = lines()
    drifts = [e["data"]["drift_y"] for e in events(result_documents, "frames")]
    numbers = [e["data"]["frame"] for e in events(result_documents, "frames")]
    np.testing.assert_array_equal(curves["drift_y"], (numbers, drifts))
    assert {"drift_x", "n_particles", "y", "x"} <= set(curves)


def test_best_effort_callback_has_a_table_of_one_stream(result_documents, capsys):
    callback = OneStream(BestEffortCallback())
    for name, doc in result_documents:
        callback(name, doc)
    told = rows(capsys.readouterr().out.splitlines())
    frames = events(result_documents, "frames")
    assert [row[2] for row in told] == [str(e["data"]["frame"]) for e in frames]
    assert [row[3] for row in told] == [f"{e['data']['drift_y']:.3f}" for e in frames]
    assert set(lines()) == {"drift_y", "drift_x", "n_particles"}


def test_the_plot_of_one_particle(result_documents):
    number = events(result_documents, "particles")[0]["data"]["particle"]
    plot = LivePlot("y", "frame", ax=plt.figure().gca())
    callback = OneStream(plot, "particles", where={"particle": number})
    for name, doc in result_documents:
        callback(name, doc)
    wanted = [e["data"] for e in events(result_documents, "particles")]
    wanted = [(d["frame"], d["y"]) for d in wanted if d["particle"] == number]
    assert list(zip(plot.x_data, plot.y_data, strict=True)) == wanted


def test_runs_without_a_scan_id_have_tables_too(result_documents):
    printed = []
    callback = OneStream(LiveTable(["frame"], out=printed.append))
    for name, doc in result_documents:
        callback(name, {k: v for k, v in doc.items() if k != "scan_id"})
    assert "(scan num: 0)" in "".join(printed)


def test_interleaved_runs_are_kept_apart(result_documents):
    seen = []

    class Recorder(CallbackBase):
        def event(self, doc):
            seen.append(doc["uid"])

    callback = OneStream(Recorder())
    for name, doc in result_documents[:-1]:
        callback(name, doc)
    n = len(seen)
    callback("stop", {"run_start": "another"})
    callback("event", events(result_documents, "frames")[0])
    assert len(seen) == n + 1
    callback(*result_documents[-1])
    callback("event", events(result_documents, "frames")[0])
    assert len(seen) == n + 1
    view = init()
    for name, doc in result_documents:
        view = update(view, name, doc)
    assert n == view.books["received"] + result_documents[-1][1]["ledger"]["revised"]
