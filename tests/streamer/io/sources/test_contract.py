"""What every source promises, and the registry that makes them."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from operando.streamer.errors import ConfigError, RecordingError
from operando.streamer.io.recording.writer import RecordingWriter
from operando.streamer.io.sources import SOURCES, Source, make_source
from operando.streamer.io.sources.files import MemorySource
from operando.streamer.io.wire.message import Received

DOCUMENTS = [
    ("start", {"uid": "run-1", "time": 1.0}),
    ("descriptor", {"uid": "d-1", "run_start": "run-1", "time": 1.1}),
    *(
        (
            "event",
            {"uid": f"e-{i}", "descriptor": "d-1", "time": 1.2 + i, "data": {"i": np.arange(i)}},
        )
        for i in range(50)
    ),
    ("stop", {"uid": "s-1", "run_start": "run-1", "time": 60.0}),
]


@pytest.fixture(params=["recording", "memory"])
def finite(request, tmp_path) -> Source:
    """Return a source of each kind that hands out DOCUMENTS and ends."""
    if request.param == "memory":
        return make_source("memory", documents=iter(DOCUMENTS))
    with RecordingWriter(tmp_path / "run.msgpack") as writer:
        for named in DOCUMENTS:
            writer(*named)
    return make_source("recording", path=str(tmp_path), max_bytes=500)


def names(items: list[Received]) -> list[tuple[str, str]]:
    return [(item.name, item.doc["uid"]) for item in items]


EXPECTED = [(name, doc["uid"]) for name, doc in DOCUMENTS]


def test_iterating_gives_all_in_order(finite):
    before = threading.active_count()
    with finite as source:
        assert source.wait_ready(5)
        items = list(source.documents())
    assert names(items) == EXPECTED
    assert source.exhausted
    assert threading.active_count() <= before
    assert all(item.nbytes > 0 and item.received_at > 1e9 for item in items)


def test_draining_gives_all_in_order(finite):
    items: list[Received] = []
    with finite as source:
        while not source.exhausted:
            batch = source.drain(max_items=7, timeout=1.0)
            assert len(batch) <= 7
            items += batch
    assert names(items) == EXPECTED
    counters = source.counters()
    assert (counters.received, counters.decoded) == (len(DOCUMENTS), len(DOCUMENTS))
    assert (counters.dropped, counters.queued, counters.queued_bytes) == (0, 0, 0)


def test_closing_early_ends_iteration(finite):
    with finite as source:
        iterator = source.documents()
        next(iterator)
        source.close()
        rest = list(iterator)
    assert len(rest) < len(DOCUMENTS)
    assert source.exhausted


@pytest.mark.parametrize("kind", SOURCES)
def test_every_kind_is_a_source(kind, tmp_path):
    settings = {"recording": {"path": str(tmp_path)}, "journal": {"folder": tmp_path}}.get(kind, {})
    source = make_source(kind, **settings)
    assert isinstance(source, Source)
    for name, field in type(source).Settings.model_fields.items():
        assert field.description, f"{kind}.{name} is not described"
    source.close()


def test_a_dotted_path_needs_no_entry():
    assert isinstance(
        make_source("operando.streamer.io.sources.files:MemorySource", documents=[]), MemorySource
    )


@pytest.mark.parametrize(
    ("kind", "settings", "message"),
    [
        ("carrier-pigeon", {}, "zmq, journal, recording, memory"),
        ("no.such.module:Thing", {}, "imported"),
        ("zmq", {"adress": "localhost:1"}, "adress"),
        ("zmq", {"address": "5578"}, "host:port"),
        ("recording", {"path": "x", "speed": 0}, "speed"),
        ("recording", {"path": "x", "speed": "fast"}, "speed"),
    ],
)
def test_wrong_settings_are_config_errors(kind, settings, message):
    with pytest.raises(ConfigError, match=message):
        make_source(kind, **settings)


def test_pushed_documents_come_out_in_another_thread():
    with make_source("memory") as source:
        assert isinstance(source, MemorySource)
        thread = threading.Thread(
            target=lambda: ([source.push(*named) for named in DOCUMENTS], source.finish())
        )
        thread.start()
        items = list(source.documents())
        thread.join()
    assert names(items) == EXPECTED


def test_the_error_that_ends_a_source_comes_after_what_was_good():
    def documents():
        yield from DOCUMENTS[:2]
        raise RuntimeError("disk on fire")

    got: list[str] = []
    with make_source("memory", documents=documents()) as source:
        with pytest.raises(Exception, match="disk on fire"):
            got.extend(item.name for item in source.documents())
        assert source.exhausted
    assert got == ["start", "descriptor"]


def test_a_missing_recording_is_told():
    source = make_source("recording", path="/no/such/file")
    with source, pytest.raises(RecordingError, match="no such file"):
        list(source.documents())


def test_a_recording_plays_at_its_pace(tmp_path):
    with RecordingWriter(tmp_path / "run.msgpack") as writer:
        for i, (name, doc) in enumerate(DOCUMENTS[:4]):
            writer.write(name, doc, received_at=100.0 + i)
    with make_source("recording", path=str(tmp_path), speed=10) as source:
        stamps = [item.received_at for item in source.documents()]
    assert 0.25 < stamps[-1] - stamps[0] < 1.0


def test_closing_does_not_wait_for_a_long_gap(tmp_path):
    with RecordingWriter(tmp_path / "run.msgpack") as writer:
        for i, (name, doc) in enumerate(DOCUMENTS[:4]):
            writer.write(name, doc, received_at=100.0 + 50 * i)
    with make_source("recording", path=str(tmp_path), speed=1) as source:
        assert source.drain(timeout=5)[0].name == "start"
    assert not any("RecordingSource" in thread.name for thread in threading.enumerate())
