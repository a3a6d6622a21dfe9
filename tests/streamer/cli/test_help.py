"""Every command explains itself."""

from __future__ import annotations

import pytest

COMMANDS = {
    "dashboard": ["--tiled", "--host", "--port", "--public"],
    "demo": ["--dir", "--energies", "--preset", "--rate", "--keep"],
    "process": [
        *("--zmq", "--tiled", "--profile", "--device", "--frames-dir", "--record", "--runs"),
        *("--http", "--http-public", "--queue-mb", "--stuck-after", "--log-format"),
        *("--publish", "--publish-keys", "--sink"),
    ],
    "ioc": ["--zmq", "--prefix", "--keys", "--list", "EPICS_CAS_INTF_ADDR_LIST"],
    "watch": ["--zmq", "--tiled", "--keys", "--every", "--once"],
    "record": ["--output", "--zmq", "--runs"],
    "replay": ["--speed", "--zmq", "--tiled", "--profile", "--output", "--frames-dir", "--sink"],
    "import": ["--output", "--kind", "--overwrite"],
    "bench": ["pipeline"],
    "bench pipeline": ["--frames", "--profile", "--device", "--output"],
    "train dual-unet": ["--out", "--steps", "--scenes", "--device", "--resume", "--smoke"],
    "train cyclegan": ["--paired-steps", "--start", "--recording", "--profile", "--pools"],
    "bench detection": ["--regime", "--detector", "--quick", "--full", "--real", "--output"],
    "bench dashboard": ["--rate", "--viewers", "--picture", "--output"],
    "bench soak": ["--frames", "--per-run", "--tiled", "--output"],
    "bench overload": ["--seconds", "--factor", "--queue-mb", "--output"],
    "bench recenter": ["--energies", "--creep", "--limit", "--output"],
    "bench real": ["--data", "--part", "--scale", "--peers", "--output", "--pictures"],
}


def test_the_program_names_its_commands(run_cli):
    ended = run_cli("--help")
    assert ended.status == 0
    for name in COMMANDS:
        assert name.split()[0] in ended.out


@pytest.mark.parametrize("command", COMMANDS)
def test_help_names_the_options(run_cli, command):
    ended = run_cli(*command.split(), "--help")
    assert ended.status == 0
    for option in COMMANDS[command]:
        assert option in ended.out, ended.out


def test_version(run_cli):
    ended = run_cli("--version")
    assert ended.status == 0
    assert ended.out.startswith("operando 0.")


def test_process_variables_are_listed(run_cli):
    ended = run_cli("ioc", "--list", "--prefix", "X:")
    assert ended.status == 0
    for name in ("X:DRIFT:Y", "X:LEDGER:RECEIVED", "X:ADVICE:MESSAGE", "X:HOLD"):
        assert name in ended.out
    assert "--epics" in run_cli("process", "--help").out


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["watch"], "--zmq HOST:PORT or --tiled URI"),
        (["watch", "--zmq", "a:1", "--tiled", "http://127.0.0.1:1"], "one of them"),
        (["watch", "--tiled", "http://127.0.0.1:1"], "no Tiled server answers"),
        (["watch", "--tiled", "http://127.0.0.1:1", "--keys", "k"], "belongs to --zmq"),
        (["ioc"], "prefix of process variables"),
        (["ioc", "--prefix", "with space:"], "prefix of process variables"),
    ],
)
def test_what_watch_and_ioc_cannot_use_is_told(run_cli, arguments, told):
    ended = run_cli(*arguments)
    assert ended.status == 1
    assert told in ended.err
    assert "Traceback" not in ended.err
