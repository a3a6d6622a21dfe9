"""What a source gives up is told in order, once, and stands in the ledger of its run."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from operando.callbacks import StreamProcessor
from operando.streamer.io.sources import SourceCounters
from operando.streamer.io.sources.queued import QueuedSource
from operando.streamer.io.wire.message import Received
from operando.streamer.io.wire.queue import DROPPED, Losses
from operando.streamer.lab.simulate import SimSettings, simulate_documents
from operando.streamer.service.service import Service, ServiceSettings


class Bounded(QueuedSource):
    """A source that is filled by hand and drops what has no room."""

    def __init__(self, max_bytes):
        super().__init__(max_bytes, "drop")

    def _receive(self):
        self._stopping.wait()

    def push(self, name, doc):
        image = doc.get("data", {}).get("txm_image") if isinstance(doc.get("data"), dict) else None
        return self._admit(name, doc, 0.0, 300 if image is None else image.nbytes)


@pytest.fixture(scope="module")
def documents():
    settings = SimSettings(
        shape=(128, 128),
        n_particles=2,
        radius_px=(11, 14),
        energies=tuple(np.linspace(8350, 8360, 10)),
        chunk=1,
        jitter_px=0.5,
    )
    return list(simulate_documents(settings, order="flat_first"))


def processed(source, close=True):
    """Ledger of the only run."""
    processor, stops = StreamProcessor("sim_txm"), []
    processor.subscribe(lambda name, doc: stops.append(doc), "stop")
    service = Service(source, processor, ServiceSettings(poll=0.05))
    if close:
        source.close()
    assert service.run(threading.Event())
    processor.close()
    (stop,) = stops
    return stop["ledger"]


def test_numbers_that_follow_each_other_are_one_range():
    losses = Losses()
    assert not losses
    for number in (3, 4, 5, 9):
        losses.add("event", {"descriptor": "a", "seq_num": number})
    losses.add("event_page", {"descriptor": "a", "seq_num": [10, 11]})
    losses.add("event", {"descriptor": "b", "seq_num": 1})
    ((name, a), (_, b)) = losses.documents()
    assert name == DROPPED
    assert a["seq_nums"] == [[3, 5], [9, 11]]
    assert b["seq_nums"] == [[1, 1]]
    losses.clear()
    assert losses.documents() == ()


@pytest.mark.parametrize(
    ("name", "doc"),
    [
        ("stop", {"seq_num": 1}),
        ("event", {}),
        ("event", {"seq_num": "1"}),
        ("event", {"seq_num": True}),
        ("event_page", {"seq_num": 4}),
        ("event", {"seq_num": -1}),
    ],
)
def test_what_has_no_number_is_left_out(name, doc):
    losses = Losses()
    losses.add(name, doc)
    assert not losses


def test_frames_given_up_for_want_of_room_are_dropped_in_the_ledger_of_their_run(documents):
    source = Bounded(16 * 128 * 128 * 2 + 3000)  # a dark, ten flats, five frames, small documents
    with source:
        for name, doc in documents:
            source.push(name, doc)
        assert source.counters().dropped == 5
        ledger = processed(source)
    assert ledger["dropped"] == {"overload": 5}
    assert ledger["received"] == 10
    assert ledger["aligned"] + ledger["degraded"] == 5
    assert ledger["balanced"]


def test_frames_given_up_in_between_do_not_count_twice(documents):
    primary = {d["uid"] for n, d in documents if n == "descriptor" and d["name"] == "primary"}
    source = Bounded(1 << 30)
    with source:
        for name, doc in documents:
            if doc.get("descriptor") in primary and doc["seq_num"] in (4, 5, 8):
                source._losses.add(name, doc)
                if doc["seq_num"] == 8:  # a second publisher: its copy comes through
                    source.push(name, doc)
            else:
                source.push(name, doc)
        ledger = processed(source)
    assert ledger["dropped"]["overload"] >= 2
    assert ledger["received"] == sum(ledger["dropped"].values()) + 8
    assert ledger["balanced"]


def test_what_is_given_up_last_is_told_when_the_source_has_closed(documents):
    source = Bounded(14 * 128 * 128 * 2)
    with source:
        for name, doc in documents:
            if name != "stop":
                source.push(name, doc)
        given_up = source.counters().dropped
        assert given_up >= 5
        source.close()
        assert not source.exhausted
        ledger = processed(source, close=False)
        assert source.exhausted
    assert ledger["dropped"] == {"overload": given_up}
    assert ledger["received"] == 10
    assert ledger["balanced"]


def test_flats_given_up_are_noticed(documents):
    source = Bounded(1 << 30)
    flats = {d["uid"] for n, d in documents if n == "descriptor" and d["name"] == "flat"}
    with source:
        for name, doc in documents:
            if name == "event" and doc["descriptor"] in flats and doc["seq_num"] == 7:
                source._losses.add(name, doc)
            else:
                source.push(name, doc)
        ledger = processed(source)
    assert ledger["notices"]["flat_overload"] == 1
    assert ledger["dropped"] == {}
    assert ledger["balanced"]


class Told:
    """A source that hands out what it is given."""

    def __init__(self, items):
        self._items = items

    @property
    def exhausted(self):
        return not self._items

    def drain(self, max_items, timeout):
        items, self._items = self._items, []
        return items

    def counters(self):
        return SourceCounters()


def test_a_recorder_never_sees_what_did_not_come():
    seen = []
    dropped = (DROPPED, {"descriptor": "x", "seq_nums": [[1, 2]], "reason": "overload"})
    items = [
        Received("start", {"uid": "a"}, 0.0, 1, (dropped,)),
        Received(*dropped, 0.0, 0),
    ]
    processor = StreamProcessor()
    service = Service(Told(items), processor, raw=lambda name, doc, at: seen.append(name))
    service.step()
    processor.close()
    assert seen == ["start"]
