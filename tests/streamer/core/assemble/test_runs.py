"""Images that never come, and runs that never stop."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from operando.streamer.core import assemble
from operando.streamer.core.assemble.state import added, contains
from operando.streamer.core.frames import Role

IMAGE = np.ones((16, 20))


@given(st.lists(st.integers(1, 30)))
def test_ranges_hold_what_was_put_in(numbers):
    ranges = ()
    for number in numbers:
        ranges = added(ranges, number)
    held = [n for start, stop in ranges for n in range(start, stop)]
    assert held == sorted(set(numbers))
    assert all(stop < start for (_, stop), (start, _) in itertools.pairwise(ranges))
    assert all(contains(ranges, n) == (n in numbers) for n in range(32))


def missing(feed):
    return [(m.role, m.count, m.reason) for m in feed.of(assemble.Missing)]


def send(run, stream, *numbers, time=2000.0):
    """Send events of given numbers, whatever event-model would say."""
    for number in numbers:
        doc = {"uid": f"{stream.doc['uid']}-{number}", "descriptor": stream.doc["uid"]}
        doc |= {"seq_num": number, "time": time, "data": {"cam": IMAGE}, "timestamps": {}}
        run.feed("event", doc)


def stop(run, time=3000.0, **num_events):
    doc = {"uid": f"stop-{run.uid}", "run_start": run.uid, "time": time, "exit_status": "success"}
    run.feed("stop", {**doc, "num_events": num_events} if num_events else doc)


@pytest.mark.parametrize(
    ("numbers", "told", "count"),
    [
        ((1, 2, 3), None, 0),
        ((1, 2, 3), 5, 2),
        ((1, 4), None, 2),
        ((1, 4), 6, 4),
        ((4, 1, 4), 4, 2),
        ((1, 2, 10**9), 3, 0),
        ((1, 2, 10**12), 3, 1),  # no count of events; left out as malformed
    ],
)
def test_gaps_are_counted_once_the_run_has_ended(feed, new_run, keys, numbers, told, count):
    run = new_run(feed)
    send(run, run.stream("primary", {"cam": keys.image}), *numbers)
    stop(run, **({"primary": told} if told else {}))
    assert missing(feed) == ([(Role.SAMPLE, count, "never_arrived")] if count else [])


def test_lost_flats_and_a_lost_descriptor(feed, new_run, keys):
    run = new_run(feed)
    send(run, run.stream("flat", {"cam": keys.image}), 2)
    stop(run, primary=7, flat=2, baseline=2)
    assert missing(feed) == [(Role.FLAT, 1, "never_arrived"), (Role.SAMPLE, 7, "no_descriptor")]


def test_events_of_which_none_came(feed, new_run, keys):
    run = new_run(feed)
    run.stream("primary", {"cam": keys.image})
    stop(run, primary=7)
    assert missing(feed) == [(Role.SAMPLE, 7, "never_arrived")]
    assert not feed.of(assemble.Declined)


def test_a_run_without_images_misses_nothing(feed, new_run, keys):
    run = new_run(feed)
    run.stream("primary", {"en": keys.energy})
    stop(run, primary=7)
    assert missing(feed) == []
    assert len(feed.of(assemble.Declined)) == 1


def test_roles_that_events_tell_leave_no_gap(new_feed, new_run, keys):
    feed = new_feed(role_key="what")
    run = new_run(feed)
    stream = run.stream("primary", {"cam": keys.image, "what": {**keys.energy, "units": ""}})
    for code in (1, 0, 0, 1):
        stream.event(cam=IMAGE, what=code)
    run.stop()
    assert [r.role for r in feed.refs] == [Role.FLAT, Role.SAMPLE, Role.SAMPLE, Role.FLAT]
    assert missing(feed) == []


def test_frames_kept_apart_are_counted_one_by_one(new_feed, new_run, keys):
    feed = new_feed(chunk="split")
    run = new_run(feed)
    stream = run.stream("primary", {"cam": {**keys.image, "shape": [3, 16, 20]}})
    stream.event(cam=np.ones((3, 16, 20)))
    stop(run, primary=3)
    assert missing(feed) == [(Role.SAMPLE, 6, "never_arrived")]


def test_an_event_whose_stream_datum_never_came_is_refused(feed, new_run, keys):
    run = new_run(feed)
    stream = run.stream("primary", {"cam": keys.streamed, "en": keys.energy})
    datum = run.files("cam")
    for i in range(3):
        if i != 1:
            doc = datum(
                {"start": i, "stop": i + 1},
                seq_nums={"start": i + 1, "stop": i + 2},
                descriptor=stream.doc,
            )
            feed("stream_datum", doc)
        stream.event(en=8.0)
    run.stop()
    assert [r.key.seq_num for r in feed.refs] == [1, 3]
    assert [(r.key.seq_num, r.reason) for r in feed.rejected] == [(2, "missing_datum")]
    assert missing(feed) == []


def test_notices_are_given_once_and_counted(feed, new_run, keys):
    run = new_run(feed)
    stream = run.stream("primary", {"cam": keys.image})
    for _ in range(3):
        feed("event", {"descriptor": stream.doc["uid"], "seq_num": "one"})
    for _ in range(4):
        feed("event", {"descriptor": "unheard of", "seq_num": 1})
    stop(run)
    assert len(feed.notices("malformed")) == 1
    assert feed.of(assemble.RunStopped)[0].notices == {"malformed": 3}
    assert feed.state.strays == {"orphan": 4}


def scan(feed, new_run, keys, times, *, images=True):
    """A run, open, with events at given times."""
    run = new_run(feed)
    data_keys = {"cam": keys.image} if images else {"en": keys.energy}
    stream = run.stream("primary", data_keys, time=times[0])
    for time in times:
        stream.event(time=time, **({"cam": IMAGE} if images else {"en": 8.0}))
    return run, stream


def ended(feed):
    return [(r.run, r.stop is not None) for r in feed.of(assemble.RunStopped)]


def test_a_run_whose_stop_was_lost_is_ended_by_a_newer_one(feed, new_run, keys):
    lost, _ = scan(feed, new_run, keys, [2000.0, 2010.0])
    newer, _ = scan(feed, new_run, keys, [2100.0])
    stop(newer, time=3800.0)  # less than half an hour later: it may be silent for a while
    newest, _ = scan(feed, new_run, keys, [3900.0])
    assert ended(feed) == [(newer.uid, True)]
    stop(newest, time=3911.0)
    assert ended(feed) == [(newer.uid, True), (lost.uid, False), (newest.uid, True)]
    assert feed.of(assemble.RunStopped)[1].notices["no_stop"] == 1


def test_interleaved_runs_are_left_alone(feed, new_run, keys):
    outer, stream = scan(feed, new_run, keys, [2000.0])
    inner, _ = scan(feed, new_run, keys, [2100.0])
    stream.event(time=2200.0, cam=IMAGE)
    stop(inner, time=9000.0)
    assert ended(feed) == [(inner.uid, True)]
    outer.stop()


def test_neither_a_run_without_images_nor_its_clock_ends_another(feed, new_run, keys):
    outer, _ = scan(feed, new_run, keys, [2000.0])
    insane, _ = scan(feed, new_run, keys, [1e18], images=False)
    stop(insane, time=1e18)
    assert ended(feed) == [(insane.uid, True)]
    outer.stop()


def test_runs_may_be_left_open(new_feed, new_run, keys):
    feed = new_feed(stale_run_s=None)
    scan(feed, new_run, keys, [2000.0])
    newer, _ = scan(feed, new_run, keys, [1e6])
    stop(newer, time=1e6)
    assert ended(feed) == [(newer.uid, True)]
