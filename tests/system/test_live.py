"""A RunEngine with stock parts, the stock proxy, the service, a Tiled server."""

from __future__ import annotations

from functools import partial

import msgpack
import msgpack_numpy
import numpy as np
import pytest
from bluesky.callbacks.zmq import Publisher

from operando.callbacks.publisher import FramePublisher
from operando.streamer.lab.rig import Child
from operando.streamer.lab.simulate import SimSettings, simulate_documents
from operando.streamer.lab.simulate.devices import make_beamline
from operando.streamer.lab.simulate.plans import txm_xanes
from operando.streamer.service.tiled_server import EmbeddedTiled, free_port

pytestmark = pytest.mark.system

SETTINGS = SimSettings(
    shape=(200, 200),
    n_particles=4,
    radius_px=(13, 18),
    energies=tuple(np.linspace(8345, 8365, 8)),
    chunk=1,
    jitter_px=1.0,
    drift_px=3.0,
    wander_px=1.0,
)


def watched(plan, look, at_event):
    """Run a plan, and call `look` after it has taken so many sample images."""
    taken = 0
    message = next(plan)
    while True:
        answer = yield message
        if message.command == "create" and message.kwargs.get("name") == "primary":
            taken += 1
            if taken == at_event:
                look()
        try:
            message = plan.send(answer)
        except StopIteration:
            return


def test_results_grow_in_tiled_while_the_run_is_open(
    rig, tiled_server, run_engine, connect, wait_until
):
    service = rig.service("--profile", "sim_txm", "--runs", "1", tiled=tiled_server)
    publisher = Publisher(
        f"127.0.0.1:{rig.port_in}", serializer=partial(msgpack.packb, default=msgpack_numpy.encode)
    )
    run_engine.subscribe(publisher)
    documents = []
    run_engine.subscribe(lambda name, doc: documents.append((name, doc)))
    client = connect(tiled_server)
    before = set(client)
    seen = {}

    def rows_of(run, stream):
        return run[stream].read() if stream in run else ()

    def look():
        (uid,) = wait_until(lambda: set(client) - before)
        run = client[uid]
        seen["frames"] = wait_until(lambda: len(rows_of(run, "frames")))
        seen["particles"] = wait_until(lambda: len(rows_of(run, "particles")))
        wait_until(lambda: "aligned" in run["frames"])
        seen["image"] = np.asarray(run["frames"]["aligned"][-1])
        seen["stop"] = client[uid].metadata.get("stop")
        seen["raw"] = [name for name, _ in documents]

    run_engine(watched(txm_xanes(make_beamline(SETTINGS)), look, 5))
    publisher.close()

    assert seen["frames"] > 0
    assert seen["particles"] > 0
    assert np.isfinite(seen["image"]).any()
    assert seen["stop"] is None
    assert "stop" not in seen["raw"]

    assert service.wait(60) == 0, service.log.read_text()
    log = service.log.read_text()
    assert "WARNING" not in log
    assert "Tiled server" not in log  # nothing to say against it
    (uid,) = set(client) - before
    run = client[uid]
    frames = run["frames"].read()
    assert frames.loc[frames["revision"] == 0, "frame"].tolist() == list(range(8))
    assert (frames["revision"] > 0).sum() == 8
    assert len(frames) > seen["frames"]
    assert run["frames"]["aligned"].shape == (16, 200, 200)
    assert run.metadata["start"]["original_run_uid"] == documents[0][1]["uid"]
    ledger = run.metadata["stop"]["ledger"]
    assert ledger["balanced"]
    assert (ledger["received"], ledger["aligned"], ledger["revised"]) == (8, 8, 8)
    assert (ledger["flats"], ledger["darks"]) == (8, 1)
    assert ledger["dropped"] == {}
    assert ledger["skipped"] == {}


def test_results_wait_for_a_tiled_server_that_comes_late(rig, tmp_path, connect):
    port, key = free_port(), "0123456789abcdef"
    service = rig.start(
        Child(
            ["-m", "operando.streamer.cli", "process", "--zmq", f"127.0.0.1:{rig.port_out}",
             "--profile", "sim_txm", "--tiled", f"http://127.0.0.1:{port}", "--runs", "1"],
            tmp_path / "service.log",
            {"TILED_API_KEY": key},
        )
    )  # fmt: skip
    service.wait_for("ready: subscribed", 60)
    assert f"no Tiled server answers at http://127.0.0.1:{port}" in service.log.read_text()
    publisher = FramePublisher(f"127.0.0.1:{rig.port_in}")
    for name, doc in simulate_documents(SETTINGS):
        publisher(name, doc)
    assert publisher.close(20)
    service.wait_for("balanced", 60)
    with EmbeddedTiled(tmp_path / "tiled", port=port, api_key=key) as server:
        assert service.wait(60) == 0, service.log.read_text()
        client = connect(server)
        (uid,) = client
        assert len(client[uid]["frames"].read()) == 16
        assert client[uid].metadata["stop"]["ledger"]["balanced"]
