"""The live view as text."""

from __future__ import annotations

import math

import pytest
from rich.console import Console

from operando.streamer.cli.watch_view import BARS, span, sparkline, view_of
from operando.streamer.core.view import init, take_rows, update


def text_of(view, now=1000.0, width=100, trouble=""):
    console = Console(width=width, markup=False, emoji=False, highlight=False)
    with console.capture() as capture:
        console.print(view_of(view, now, width, trouble))
    return capture.get()


def viewed(documents):
    view = init()
    for name, doc in documents:
        view = update(view, name, doc)
    return view


def test_sparkline():
    assert sparkline([0, 1, 2, 3, 4, 5, 6, 7], 8) == BARS
    assert sparkline([9, 9, 0, 1], 2) == BARS[0] + BARS[-1]
    assert sparkline([0, math.nan, 1], 9) == f"{BARS[0]} {BARS[-1]}"
    assert sparkline([2, 2], 9) == BARS[4] * 2
    assert sparkline([math.nan], 9) == sparkline([], 9) == ""
    assert span([9, 9, 0, 1], 2) == (0, 1)
    assert all(map(math.isnan, span([math.nan], 9)))


def test_a_run(result_documents):
    view = viewed(result_documents)
    text = text_of(view, view.frame.emitted + 3)
    assert f"run {view.raw[:8]}" in text
    assert "simulated-0" in text
    assert "ended success" in text
    assert "frame 7  8366.00 eV  aligned" in text
    assert "last result 3.00 s ago" in text
    assert "particles: 3 tracked" in text
    assert "8 received = 8 aligned + 0 degraded + 0 skipped + 0 dropped" in text
    for particle in view.particles.values():
        (line,) = [x for x in text.splitlines() if f" {particle.yx[0]:.2f}" in x]
        assert f"{particle.yx[1]:.2f}" in line
        assert f"{particle.displacement[0]:+.2f}" in line
    drifts = [view.drifts[frame].y for frame in range(8)]
    assert sparkline(drifts, 50) in text


def test_nothing_yet():
    assert "waiting for a run" in text_of(init())
    assert "no frame yet" in text_of(init())


def test_half_a_run_heard_late(result_documents):
    events = [named for named in result_documents if named[0] == "event"]
    text = text_of(viewed(events[:12]))
    assert "run of before we listened" in text
    assert "running" in text


def test_advice_is_shown():
    row = {"kind": "leaving", "severity": "warning", "message": "leaves in 40 s", "time": 5.0,
           "particle": 3, "move_y": 12.5, "move_x": -4.0, "acted": False}  # fmt: skip
    text = text_of(take_rows(init(), "advice", [row]))
    assert "warning leaving: leaves in 40 s  [move (+12.50, -4.00) px]" in text
    assert "alerts not over: 1" in text
    text = text_of(take_rows(init(), "advice", [{**row, "acted": True}]))
    assert "[moved (+12.50, -4.00) px]" in text
    assert "not over" not in text


def test_trouble_is_shown():
    assert "no proxy answers" in text_of(init(), trouble="no proxy answers")


@pytest.mark.parametrize("width", [20, 40, 80, 120])
def test_it_fits_into_the_terminal(result_documents, width):
    text = text_of(viewed(result_documents), width=width)
    assert max(map(len, text.splitlines())) <= width


def test_names_cannot_command_the_terminal(result_documents):
    name, doc = result_documents[0]
    sample = "[red]a\x1b[2J\x1b]0;owned\x07\n:smile:"
    text = text_of(viewed([(name, {**doc, "sample": sample}), *result_documents[1:]]))
    assert "\x1b" not in text
    assert "\x07" not in text
    assert "[red]a" in text
    assert ":smile:" in text
