"""Where the terminal's view comes from, when that goes away."""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager

import pytest

from operando.callbacks.publisher import FramePublisher
from operando.callbacks.tiled.sink import TiledSink
from operando.streamer.cli.watch import TiledWatching, ZmqWatching
from operando.streamer.io.tiled.settings import TiledSettings
from operando.streamer.service.forwarder import Forwarder, ForwarderSettings
from operando.streamer.service.tiled_server import EmbeddedTiled, free_port

pytestmark = pytest.mark.system


def look_for(watching, condition, timeout=60.0):
    deadline = time.monotonic() + timeout
    while True:
        view, trouble = watching.look(0.1)
        if condition(view, trouble):
            return view, trouble
        assert time.monotonic() < deadline, (view.frame, trouble)


@contextmanager
def running(settings):
    """A forwarder in a thread."""
    with Forwarder(settings) as forwarder:
        stop = threading.Event()
        thread = threading.Thread(target=forwarder.run, args=(stop,))
        thread.start()
        yield
        stop.set()
        thread.join(10)


@pytest.mark.slow
def test_a_tiled_server_that_goes_away_is_told_and_found_again(
    tmp_path, monkeypatch, result_documents
):
    with EmbeddedTiled(tmp_path / "tiled") as server:
        monkeypatch.setenv("TILED_API_KEY", server.api_key)
        sink = TiledSink(server.uri, TiledSettings(frames="http", first_rows_s=0, tick_s=0.05))
        for name, doc in result_documents[:-1]:
            sink(name, doc)
        assert sink.flush(30)
        with TiledWatching(server.base_uri, every=0.2) as watching:
            view, trouble = look_for(watching, lambda view, _: view.frame.number == 7)
            assert trouble == ""
            server.stop()
            kept, trouble = look_for(watching, lambda _, trouble: trouble)
            assert "Tiled" in trouble
            assert kept.frame is view.frame
            server.start()
            look_for(watching, lambda _, trouble: not trouble)
            sink(*result_documents[-1])
            assert sink.flush(60)
            look_for(watching, lambda view, _: view.exit_status == "success")
        sink.close()


def test_what_comes_over_0mq_is_shown_and_nonsense_counted(result_documents):
    ports = free_port(), free_port()
    settings = ForwarderSettings(
        in_address=f"127.0.0.1:{ports[0]}", out_address=f"127.0.0.1:{ports[1]}"
    )
    with ZmqWatching(settings.out_address, None) as watching:
        look_for(watching, lambda _, trouble: "no proxy answers" in trouble)
        with running(settings):
            look_for(watching, lambda _, trouble: not trouble)
            publisher = FramePublisher(settings.in_address)
            publisher("event", {"descriptor": "d", "time": 0.0, "data": {"severity": "alarm"}})
            publisher("descriptor", {"uid": "no run_start"})
            for name, doc in result_documents:
                publisher(name, doc)
            look_for(watching, lambda view, _: view.exit_status == "success")
            _, trouble = watching.look(0.1)
            assert trouble == "2 documents make no sense"
            assert publisher.close(20)
