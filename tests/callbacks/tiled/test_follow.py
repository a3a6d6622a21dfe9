"""The view kept by asking Tiled is the one of the documents."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from tiled.client import from_uri
from tiled.client.container import Container

from operando.callbacks.tiled.results import TiledFollower
from operando.callbacks.tiled.sink import TiledSink
from operando.streamer.core.view import LiveView, Phase, init, update
from operando.streamer.io.tiled.settings import TiledSettings
from operando.streamer.service.tiled_server import EmbeddedTiled

pytestmark = pytest.mark.system

Documents = list[tuple[str, dict[str, Any]]]


@pytest.fixture
def root(tiled_server: EmbeddedTiled) -> Iterator[Container]:
    client = from_uri(tiled_server.uri)
    yield client.create_container(str(uuid.uuid4()))
    client.context.close()


@pytest.fixture
def sink(root: Container) -> Iterator[TiledSink]:
    made = TiledSink(root, TiledSettings(frames="http", first_rows_s=0, tick_s=0.05))
    yield made
    made.close()


def viewed(documents: Documents) -> LiveView:
    view = init()
    for name, doc in documents:
        view = update(view, name, doc)
    return view


def told(view: LiveView, name: str) -> str:
    """As text, in which a NaN is equal to a NaN."""
    value = getattr(view, name)
    return repr(sorted(value.items()) if isinstance(value, dict) else value)


def test_it_follows_a_run_to_its_end_and_goes_on_to_the_next(
    root: Container, sink: TiledSink, result_documents: Documents
) -> None:
    now = 0.0
    follower = TiledFollower(root, clock=lambda: now)
    assert follower.poll().phase is Phase.IDLE
    events = [i for i, (name, _) in enumerate(result_documents) if name == "event"]
    given = 0
    for part in (events[3] + 1, events[-2], len(result_documents)):
        for name, doc in result_documents[given:part]:
            sink(name, doc)
        assert sink.flush(20)
        given = part
        now += 10.0
        found, wanted = follower.poll(), viewed(result_documents[:part])
        assert found.phase is wanted.phase
        for name in ("frame", "particles", "drifts"):
            assert told(found, name) == told(wanted, name)
        assert found.emitted == pytest.approx(wanted.emitted)
        assert found.books == wanted.books
        assert (found.raw, found.sample) == (wanted.raw, wanted.sample)
    assert found.exit_status == "success"

    name, doc = result_documents[0]
    sink(name, {**doc, "uid": str(uuid.uuid4()), "sample": "the next"})
    assert sink.flush(20)
    assert follower.poll().sample == doc["sample"]  # it looks for new runs now and then
    now += 10.0
    assert follower.poll().sample == "the next"
    assert follower.view.phase is Phase.RUNNING
