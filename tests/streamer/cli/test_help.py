"""Every command explains itself."""

from __future__ import annotations

import pytest

COMMANDS = {
    "demo": ["--dir", "--energies", "--preset", "--rate", "--keep"],
    "process": [
        *("--zmq", "--tiled", "--profile", "--device", "--frames-dir", "--record", "--runs"),
        *("--http", "--http-public", "--queue-mb", "--stuck-after", "--log-format"),
        *("--publish", "--publish-keys"),
    ],
    "record": ["--output", "--zmq", "--runs"],
    "replay": ["--speed", "--zmq", "--tiled", "--profile", "--output", "--frames-dir"],
    "import": ["--output", "--kind", "--overwrite"],
    "bench": ["pipeline"],
    "bench pipeline": ["--frames", "--profile", "--device", "--output"],
    "train dual-unet": ["--out", "--steps", "--scenes", "--device", "--resume", "--smoke"],
    "train cyclegan": ["--paired-steps", "--start", "--recording", "--profile", "--pools"],
    "bench detection": ["--regime", "--detector", "--quick", "--full", "--real", "--output"],
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
