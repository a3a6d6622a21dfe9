from __future__ import annotations

import logging
import threading
import time

import pytest

from operando.callbacks.processor.processor import StreamProcessor
from operando.callbacks.publisher import FramePublisher
from operando.streamer.io.sources import make_source
from operando.streamer.lab.simulate import SimSettings, simulate_documents
from operando.streamer.service.forwarder import Forwarder, ForwarderSettings
from operando.streamer.service.service import Service, ServiceSettings


class Collector:
    """Keeps what it is given, in the groups in which it came."""

    def __init__(self):
        self.groups = []

    def process(self, documents):
        self.groups.append(list(documents))

    def close(self):
        pass


def documents(n):
    return [("start", {"uid": str(i)}) for i in range(n)]


def test_all_documents_arrive_in_order_and_in_bounded_groups():
    collector = Collector()
    kept = []
    with make_source("memory", documents=documents(100)) as source:
        service = Service(
            source,
            collector,
            ServiceSettings(max_items=8, poll=0.05),
            raw=lambda name, doc, received_at: kept.append(doc),
        )
        assert service.run(threading.Event()) == 100
    got = [doc["uid"] for group in collector.groups for _, doc in group]
    assert got == [str(i) for i in range(100)]
    assert max(map(len, collector.groups)) <= 8
    assert len(kept) == 100


def test_a_stop_still_processes_what_has_queued_up():
    collector = Collector()
    stop = threading.Event()
    with make_source("memory") as source:
        for name, doc in documents(20):
            source.push(name, doc)
        stop.set()
        assert Service(source, collector, ServiceSettings(max_items=3)).run(stop) == 20
    assert source.exhausted


@pytest.fixture
def proxy():
    """A running forwarder."""
    random = {"in_address": "tcp://127.0.0.1:*", "out_address": "tcp://127.0.0.1:*"}
    stop = threading.Event()
    with Forwarder(ForwarderSettings(**random)) as forwarder:
        thread = threading.Thread(target=forwarder.run, args=(stop,))
        thread.start()
        yield forwarder
        stop.set()
        thread.join(10)


@pytest.mark.system
def test_a_service_that_is_given_its_own_results_says_so_once_and_leaves_them_out(proxy, caplog):
    """Results are published to the proxy that is listened to, beside the raw documents."""
    settings = SimSettings(
        shape=(72, 72), n_particles=1, radius_px=(12, 15), energies=(8350.0, 8360.0), chunk=1
    )
    processor, results, work = StreamProcessor(), [], 0
    publisher = FramePublisher(proxy.in_address)
    processor.subscribe(lambda name, doc: results.append((name, doc)))
    processor.subscribe(publisher)
    with make_source("zmq", address=proxy.out_address) as source, caplog.at_level(logging.ERROR):
        assert source.wait_ready(10)
        assert publisher.wait_connected(10)
        service = Service(source, processor, ServiceSettings(poll=0.05))
        for seed in (0, 1):  # two runs: the second must not say it again
            for name, doc in simulate_documents(settings.model_copy(update={"seed": seed})):
                publisher(name, doc)
        deadline = time.monotonic() + 60
        while (sent := publisher.counters()).queued or source.counters().received < sent.offered:
            assert time.monotonic() < deadline
            work += service.step()
        while taken := service.step():
            work += taken
    assert publisher.close(10)
    assert work == publisher.counters().sent  # raw documents and results came in
    assert [name for name, _ in results].count("start") == 2  # none of them of a result run
    assert {doc["exit_status"] for name, doc in results if name == "stop"} == {"success"}
    said = [r.getMessage() for r in caplog.records if "results of operando" in r.getMessage()]
    assert len(said) == 1
    assert "5578" in said[0]
    assert "5587" in said[0]
