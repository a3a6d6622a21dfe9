"""An API key that is marked is found nowhere after a run: no log, result, title, or exception."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest

from operando.callbacks.publisher import FramePublisher
from operando.streamer.lab.rig import Child
from operando.streamer.lab.simulate import SimSettings, simulate_documents
from operando.streamer.service.tiled_server import EmbeddedTiled

pytestmark = pytest.mark.system

KEY = "5ec4e7markedmarkedmarked5ec4e7"
WRONG = "5ec4e7wrongwrongwrongwrong5ec4e7"
SETTINGS = SimSettings(
    shape=(160, 160), n_particles=3, radius_px=(12, 16), energies=(8350.0, 8360.0), chunk=1
)


def holding(folder: Path, mark: bytes) -> list[str]:
    return [
        str(path.relative_to(folder))
        for path in folder.rglob("*")
        if path.is_file() and mark in path.read_bytes()
    ]


def title(pid: int) -> bytes:
    return Path(f"/proc/{pid}/cmdline").read_bytes()


def test_a_marked_key_is_in_no_log_result_or_title(rig, tmp_path):
    with EmbeddedTiled(tmp_path / "tiled", api_key=KEY) as server:
        service = rig.service(
            *("--profile", "sim_txm", "--runs", "1", "--record", str(tmp_path / "raw")),
            tiled=server,
        )
        assert server.pid is not None
        titles = title(service.process.pid) + title(server.pid)
        publisher = FramePublisher(f"127.0.0.1:{rig.port_in}")
        for name, doc in simulate_documents(SETTINGS):
            publisher(name, doc)
        assert publisher.close(20)
        assert service.wait(60) == 0, service.log.read_text()
        # what a websocket does: the key in the address of a request that fails, and so is logged
        httpx.get(f"{server.base_uri}/api/v1/metadata/none?api_key={KEY}")
        refused = rig.start(
            Child(
                ["-m", "operando.streamer.cli", "-v", "replay",
                 str(next((tmp_path / "raw").glob("*.msgpack"))), "--tiled", server.base_uri],
                tmp_path / "refused.log",
                {"TILED_API_KEY": WRONG},
            )
        )  # fmt: skip
        assert refused.wait(60) == 1
        assert "TILED_API_KEY" in refused.log.read_text()
    assert b"5ec4e7" not in titles
    log = server.log.read_text()
    assert "api_key=***" in log, "Tiled told its key, and it was hidden"
    assert holding(tmp_path, b"5ec4e7") == []
    assert len(list((tmp_path / "tiled").rglob("*"))) > 5, "there are results to look through"
