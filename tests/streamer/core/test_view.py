"""What is kept of result documents."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from operando.streamer.core.streams import rows_of
from operando.streamer.core.view import (
    Phase,
    age,
    frame_rate,
    init,
    lag,
    median_velocity,
    particle_counts,
    take_rows,
    update,
    worst_alert,
)


def viewed(documents, view=None):
    view = init() if view is None else view
    for name, doc in documents:
        view = update(view, name, doc)
    return view


def timed_rows(documents, stream):
    timed = [(n, {**d, "data": {"time": d["time"], **d["data"]}} if n == "event" else d)
             for n, d in documents]  # fmt: skip
    return rows_of(timed)[stream]


def test_the_end_of_a_run(result_documents):
    view = viewed(result_documents)
    start, stop = result_documents[0][1], result_documents[-1][1]
    frames, particles = (
        timed_rows(result_documents, "frames"),
        timed_rows(result_documents, "particles"),
    )
    last = max(frames, key=lambda row: (row["frame"], row["revision"]))
    assert view.phase is Phase.ENDED
    assert (view.run, view.raw) == (start["uid"], start["original_run_uid"])
    assert view.exit_status == "success"
    assert (view.frame.number, view.frame.revision) == (7, last["revision"])
    assert view.frame.drift.y == last["drift_y"]
    assert view.frame.energy == 8366.0
    assert view.books["received"] == view.books["aligned"] == 8 == stop["ledger"]["aligned"]
    assert sorted(view.drifts) == list(range(8))
    assert view.coming == ()
    for number, particle in view.particles.items():
        newest = max(
            (row for row in particles if row["particle"] == number),
            key=lambda row: (row["frame"], row["revision"]),
        )
        assert particle.yx == (newest["y"], newest["x"])
    assert set(view.particles) == {row["particle"] for row in particles}
    assert particle_counts(view)["tracked"] == 3
    assert all(map(math.isfinite, median_velocity(view)))


def test_an_older_frame_told_again_is_not_the_newest(result_documents):
    frames = timed_rows(result_documents, "frames")
    newest = take_rows(init(), "frames", [frames[0], frames[-1]])
    assert frames[-1]["frame"] == 7
    again = take_rows(newest, "frames", [{**frames[0], "revision": 9, "drift_y": -77.0}])
    assert again.frame == newest.frame
    assert again.drifts[frames[0]["frame"]].y == -77.0


def test_particles_wait_for_their_frame(result_documents):
    events = [i for i, (n, _) in enumerate(result_documents) if n == "event"]
    view = viewed(result_documents[: events[0] + 1])
    assert len(view.coming) == 1
    assert view.particles == {}


def test_particles_that_come_after_their_frames_are_not_lost(result_documents):
    whole = viewed(result_documents)
    view = take_rows(init(), "frames", timed_rows(result_documents, "frames"))
    view = take_rows(view, "particles", timed_rows(result_documents, "particles"))
    assert view.particles == whole.particles
    assert view.coming == ()


def test_who_listens_late_is_told_all_the_same(result_documents):
    events = [named for named in result_documents if named[0] in ("event", "stop")]
    whole, late = viewed(result_documents), viewed(events)
    assert late.run == ""
    assert late.phase is Phase.ENDED
    assert late.frame == whole.frame
    assert late.particles == whole.particles


def test_another_run_that_is_still_open_is_passed_over(result_documents):
    view = viewed([result_documents[0], *result_documents])
    event = next(doc for name, doc in result_documents if name == "event")
    other = {**event, "descriptor": "of another run"}
    assert update(view, "event", other) == view
    assert update(view, "stop", {"run_start": "another"}) == view
    assert update(view, "descriptor", {"run_start": "another", "uid": "u", "name": "n"}) == view


def test_advice_with_the_keys_of_the_contract():
    row = {"kind": "recentre", "severity": "warning", "message": "leaves in 40 s", "time": 5.0,
           "particle": 3, "move_y": 12.5, "move_x": -4.0, "acted": False}  # fmt: skip
    view = take_rows(init(), "advice", [row] * 20)
    assert view.advice.move == (12.5, -4.0)
    assert (view.advice.kind, view.advice.particle) == ("recentre", 3)
    assert view.n_advices == 20
    assert len(view.advices) < 20


def test_alerts_last_until_they_are_over():
    row = {"kind": "beam", "severity": "alarm", "message": "no light", "time": 5.0, "particle": -1}
    leaving = {**row, "kind": "leaving", "severity": "warning", "particle": 3}
    view = take_rows(init(), "advice", [row, leaving, {**leaving, "particle": 4}])
    assert len(view.alerts) == 3
    assert worst_alert(view).kind == "beam"
    over = {**row, "severity": "info", "message": "light again", "active": False}
    view = take_rows(view, "advice", [over])
    assert worst_alert(view).particle == 4
    view = take_rows(view, "advice", [{**leaving, "active": False}])
    assert list(view.alerts) == [("leaving", 4)]
    assert update(view, "stop", {"run_start": "", "exit_status": "success"}).alerts == {}
    assert worst_alert(init()) is None


def test_frame_rate_and_age():
    view = replace(init(), emitted=tuple(100 + 0.5 * i for i in range(9)))
    view = replace(view, frame=replace(view.frame, emitted=104.0))
    assert frame_rate(view, 104.0) == pytest.approx(2.0)
    assert frame_rate(view, 130.0) == 0.0
    steady = replace(view, emitted=tuple(0.25 * i for i in range(256)))
    assert frame_rate(steady, 63.75) == pytest.approx(4.0, rel=0.05)
    assert age(view, 106.5) == 2.5
    assert math.isnan(age(init(), 0.0))


def test_lag_is_what_has_no_result():
    books = {"received": 9, "aligned": 4, "degraded": 1, "skipped": 1, "dropped": 0}
    assert lag(replace(init(), books=books)) == 3


def test_nothing_is_known_of_nothing():
    assert all(map(math.isnan, median_velocity(init())))
    assert sum(particle_counts(init()).values()) == 0
    assert frame_rate(init(), 0.0) == 0.0
