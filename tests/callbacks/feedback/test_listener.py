"""Results over a real 0MQ proxy."""

from __future__ import annotations

import time

import pytest

from operando.callbacks.feedback import LatestResults, ResultListener
from operando.callbacks.publisher import FramePublisher
from operando.streamer.lab.rig import start_proxy
from operando.streamer.service.tiled_server import free_port

pytestmark = pytest.mark.system


def event(time_, drift):
    data = {
        "frame": 0, "raw_seq_num": 1, "drift_y": drift, "drift_x": 2.0, "drift_sigma": 0.1,
        "status": "aligned", "n_particles": 4, "aligned": None,
    }  # fmt: skip
    return {"uid": "e", "descriptor": "d", "seq_num": 1, "time": time_, "data": data,
            "timestamps": {}, "filled": {}}  # fmt: skip


def test_results_reach_the_process_of_the_run_engine(tmp_path, caplog):
    port_in, port_out = free_port(), free_port()
    latest, broken = LatestResults(), []

    def stumble(name, doc):
        broken.append(name)
        raise RuntimeError("I am broken")

    with (
        start_proxy(tmp_path, port_in, port_out),
        ResultListener(f"127.0.0.1:{port_out}", stumble, latest) as listener,
    ):
        publisher = FramePublisher(f"127.0.0.1:{port_in}")
        try:
            assert publisher.wait_connected(10)
            assert listener.wait_ready(10)
            for number in range(5):
                publisher("event", event(100.0 + number, float(number)))
            deadline = time.monotonic() + 10
            while (latest.heard or 0) < 104.0 and time.monotonic() < deadline:
                time.sleep(0.02)
        finally:
            publisher.close()
    assert latest.measured.drift[0] == 4.0
    assert len(broken) == 5
    assert "I am broken" in caplog.text
