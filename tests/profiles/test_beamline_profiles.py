"""The profiles of real beamlines: settings that load, a startup file that publishes."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml
import zmq

from operando.streamer.config import Settings, load_settings
from operando.streamer.io.wire.message import unpack

PROFILES = ("nsls2_fxi", "ssrl_6_2c")

_BEAMLINE = """
import sys, time
from bluesky import RunEngine
from bluesky.plans import count
from ophyd.sim import direct_img
RE = RunEngine({})
with open(sys.argv[1]) as file:
    exec(compile(file.read(), sys.argv[1], "exec"))
print("ready", flush=True)
sys.stdin.readline()
RE(count([direct_img], num=2))
RE.unsubscribe(operando_token)
RE(count([direct_img], num=1))
print("torch" in sys.modules, flush=True)
operando_publisher.close()
"""


@pytest.fixture(params=PROFILES)
def profile(request, repo_root: Path) -> Path:
    return repo_root / "profiles" / request.param


def test_settings_load_and_say_only_what_differs(profile: Path):
    settings = load_settings(profile.name)
    defaults = Settings().model_dump(by_alias=True)
    content = yaml.safe_load((profile / "operando.yml").read_text())
    assert settings.profile == profile.name
    same = [
        f"{section}.{key}"
        for section, values in content.items()
        for key, value in values.items()
        if defaults[section][key] == value
    ]
    assert same == []


def test_readme_and_length(profile: Path):
    assert "60-operando.py" in (profile / "README.md").read_text()
    assert len((profile / "startup" / "60-operando.py").read_text().splitlines()) <= 60


def test_raw_documents_and_results_have_ports_of_their_own(repo_root: Path):
    """5577 and 5578 carry raw documents, 5587 and 5588 results, in code and in each profile."""
    sources = [p for d in ("profiles", "streamer", "callbacks") for p in (repo_root / d).rglob("*")]
    texts = [p.read_text() for p in sources if p.suffix in (".py", ".md", ".yml", ".env")]
    raw = re.compile(r"(Publisher\(|OPERANDO_PROXY|--zmq )\S*?[ \"]*127.0.0.1:(\d+)")
    results = re.compile(r"(--publish |OPERANDO_RESULTS)\S*?[ \"]*127.0.0.1:(\d+)")
    assert {port for text in texts for _, port in raw.findall(text)} == {"5577", "5578"}
    assert {port for text in texts for _, port in results.findall(text)} == {"5587", "5588"}
    own = [(repo_root / "profiles" / name) for name in PROFILES]
    named = [p.read_text() for folder in own for p in folder.rglob("*") if p.is_file()]
    assert not any("127.0.0.1:558" in text for text in named)


@pytest.mark.system
def test_startup_file_publishes_what_operando_can_read(profile: Path, tmp_path: Path):
    """The proxy's in side is played by a bound socket; the beamline is a process of its own."""
    script = tmp_path / "beamline.py"
    script.write_text(_BEAMLINE)
    with zmq.Context() as context, context.socket(zmq.SUB) as socket:
        port = socket.bind_to_random_port("tcp://127.0.0.1")
        socket.setsockopt(zmq.SUBSCRIBE, b"")
        beamline = subprocess.Popen(
            [sys.executable, str(script), str(profile / "startup" / "60-operando.py")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={"OPERANDO_PROXY": f"127.0.0.1:{port}", "HOME": str(tmp_path)},
        )
        try:
            assert beamline.stdin is not None
            assert beamline.stdout is not None
            assert "operando: documents are published" in beamline.stdout.readline()
            assert beamline.stdout.readline() == "ready\n"
            time.sleep(0.5)  # the subscription travels to the publisher
            beamline.stdin.write("go\n")
            beamline.stdin.flush()
            documents = []
            while not documents or documents[-1][0] != "stop":
                assert socket.poll(10_000), f"only {len(documents)} documents came"
                documents.append(unpack(socket.recv()))
            assert beamline.stdout.readline() == "False\n"
            assert beamline.wait(10) == 0
            assert not socket.poll(200), "documents were published after the callback was removed"
        finally:
            beamline.kill()
            beamline.wait()
            beamline.stdin.close()
            beamline.stdout.close()
    names = [document[0] for document in documents if document is not None]
    assert names == ["start", "descriptor", "event", "event", "stop"]
    image = documents[2][1]["data"]["img"]
    assert image.shape == (10, 10)
