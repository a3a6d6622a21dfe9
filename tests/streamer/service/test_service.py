from __future__ import annotations

import threading

from operando.streamer.io.sources import make_source
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
