"""A service behind a real 0MQ socket: after any one hostile thing the next good run is the same."""

from __future__ import annotations

import logging
import os
import time
from pathlib import Path

import pytest
import zmq

from operando.callbacks.processor.processor import StreamProcessor
from operando.streamer.config import load_settings
from operando.streamer.errors import AssetForbidden
from operando.streamer.io.recording.writer import RecordingWriter
from operando.streamer.io.sources import make_source
from operando.streamer.io.wire.codec import dumps
from operando.streamer.io.wire.message import pack
from operando.streamer.service.service import Service, ServiceSettings

from .documents import CASES, Run
from .files import ASSETS, Place
from .good import assert_same, good_run
from .messages import MESSAGES

pytestmark = pytest.mark.system

NOWHERE = Path("/tmp/operando-canary-that-nobody-makes")


TOGETHER = int(os.environ.get("OPERANDO_HOSTILE_TOGETHER", "4"))
"""Cases between two good runs, each of which costs a quarter of a second; 1 finds a culprit."""


def groups(cases):
    """Cases of one kind, a few at a time."""
    cases = list(cases)
    return [cases[i : i + TOGETHER] for i in range(0, len(cases), TOGETHER)]


class Rig:
    """A publisher, and a service that reads it over TCP, turned by hand."""

    def __init__(self, folder, inside):
        settings = load_settings(
            None, {"assets": {"allowed_roots": [str(inside)], "retry_for": 0.0}}
        )
        self.context = zmq.Context()
        self.socket = self.context.socket(zmq.PUB)
        self.socket.sndhwm = 0
        port = self.socket.bind_to_random_port("tcp://127.0.0.1")
        self.source = make_source("zmq", address=f"127.0.0.1:{port}")
        self.processor = StreamProcessor(settings)
        self.results = []
        self.processor.subscribe(lambda name, doc: self.results.append((name, doc)))
        self.writer = RecordingWriter(folder / "results")
        self.raw = RecordingWriter(folder / "raw")
        self.processor.subscribe(self.writer)
        self.service = Service(
            self.source, self.processor, ServiceSettings(poll=0.05), self.raw.write
        )
        self.source.open()
        assert self.source.wait_ready(10)
        self.sent = 0

    def send(self, message):
        self.socket.send(message)
        self.sent += 1

    def publish(self, documents):
        for name, doc in documents:
            self.send(b" " + name.encode() + b" " + dumps(doc))

    def work(self):
        """Process everything that was sent."""
        deadline = time.monotonic() + 60
        while self.source.counters().received < self.sent or self.source.counters().queued:
            assert time.monotonic() < deadline
            self.service.step()
        self.service.step()

    def results_of(self, tag):
        """Publish a good run and return its results."""
        run = good_run(tag)
        self.publish(run)
        self.work()
        found = self.of_run(run[0][1]["uid"])
        assert found, "the good run has results"
        assert found[-1][0] == "stop"
        return found

    def of_run(self, raw):
        """Results of a raw run; those of one that is over may come among them."""
        starts = {doc["uid"] for name, doc in self.results
                  if name == "start" and doc["original_run_uid"] == raw}  # fmt: skip
        assert len(starts) <= 1
        streams = {doc["uid"] for name, doc in self.results
                   if name == "descriptor" and doc["run_start"] in starts}  # fmt: skip
        return [
            (name, doc)
            for name, doc in self.results
            if (doc["uid"] if name == "start" else doc.get("run_start")) in starts
            or doc.get("descriptor") in streams
        ]

    def close(self):
        self.source.close()
        self.processor.close()
        self.writer.close()
        self.raw.close()
        self.socket.close(linger=0)
        self.context.term()


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return Place.make(tmp_path_factory.mktemp("files"))


@pytest.fixture(scope="module")
def rig(tmp_path_factory, place):
    rig = Rig(tmp_path_factory.mktemp("recordings"), place.inside)
    yield rig
    rig.close()
    assert not place.canary.exists()


@pytest.fixture(scope="module")
def reference(rig):
    found = rig.results_of("reference")
    assert {name for name, _ in found} == {"start", "descriptor", "event", "stop"}
    ledger = found[-1][1]["ledger"]
    assert ledger["balanced"]
    assert ledger["aligned"] == ledger["received"] == 2
    return found


@pytest.mark.parametrize("cases", groups(MESSAGES), ids=lambda cases: cases[0].name)
def test_after_hostile_messages(cases, rig, reference, canary):
    for case in cases:
        before = rig.source.counters()
        rig.send(case.make(canary))
        rig.work()
        after = rig.source.counters()
        assert after.bad == before.bad + 1
        assert after.bad_reasons[case.kind] == before.bad_reasons.get(case.kind, 0) + 1
    assert_same(rig.results_of(f"message-{cases[0].name}"), reference)


@pytest.mark.parametrize("names", groups(CASES), ids=lambda names: names[0])
def test_after_hostile_documents(names, rig, reference, caplog):
    failures = rig.processor.subscriber_failures
    rig.results.clear()
    with caplog.at_level(logging.ERROR):
        for name in names:
            rig.publish(CASES[name])
            rig.work()
        assert_same(rig.results_of(f"documents-{names[0]}"), reference)
    assert rig.processor.subscriber_failures == failures
    assert not [r for r in caplog.records if r.exc_info], "nothing unforeseen happened"
    for kind, doc in rig.results:
        dumps(doc)
        if kind == "stop":
            assert doc["ledger"]["balanced"]
            assert doc["ledger"]["received"] < 10_000_000


def documents_of(case, place, number):
    """A run whose images lie in a hostile file, by both ways of saying so."""
    run = Run(f"asset-{number}")
    made = case.resource(place)
    image = {"source": "s", "dtype": "array", "shape": [40, 40], "external": "STREAM:"}
    streamed = {"uid": f"{run.uid}-s", "run_start": run.uid, "data_key": "img", **made}
    datum = {
        "uid": f"{run.uid}-s/0",
        "descriptor": run.descriptor_uid,
        "stream_resource": f"{run.uid}-s",
        "indices": {"start": 0, "stop": 1},
        "seq_nums": {"start": 1, "stop": 2},
    }
    event = run.event(1)[1]
    event = {**event, "data": {"energy": 8350.0}}
    return [
        run.start(),
        run.descriptor(data_keys={"img": image}),
        ("stream_resource", streamed),
        ("stream_datum", datum),
        ("event", event),
        run.stop(),
    ]


@pytest.mark.parametrize("numbers", groups(range(len(ASSETS))), ids=lambda n: ASSETS[n[0]].name)
def test_after_hostile_files(numbers, rig, reference, place):
    for number in numbers:
        case = ASSETS[number]
        before = set(place.inside.iterdir())
        rig.results.clear()
        rig.publish(documents_of(case, place, number))
        rig.work()
        (stop,) = [doc for name, doc in rig.results if name == "stop"]
        ledger = stop["ledger"]
        assert ledger["balanced"]
        assert ledger["received"] == sum(ledger["skipped"].values()) == 1
        if case.error is AssetForbidden:
            assert ledger["skipped"] == {AssetForbidden.reason: 1}
        for path in set(place.inside.iterdir()) - before:
            path.rmdir() if path.is_dir() and not path.is_symlink() else path.unlink()
    assert_same(rig.results_of(f"asset-{numbers[0]}"), reference)


def test_a_large_flood_costs_no_good_frame(rig, reference):
    """10,000 messages of the corpus between the messages of one good run."""
    small = [m for m in (case.make(NOWHERE) for case in MESSAGES) if len(m) < 20_000]
    run = good_run("flood")
    before = rig.source.counters()
    for i, (name, doc) in enumerate(run):
        for n in range(10_000 // len(run) + 1):
            rig.send(small[(i * 1000 + n) % len(small)])
        rig.send(pack(name, doc))
        rig.work()
    after = rig.source.counters()
    flood = after.bad - before.bad
    assert flood >= 10_000
    assert sum(after.bad_reasons.values()) == after.bad
    assert after.dropped == 0
    found = rig.of_run(run[0][1]["uid"])
    assert_same(found, reference)
