"""A real client of Channel Access: EPICS base's own library, in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from operando.streamer.service.epics.ioc import AUTO_BEACONS, BEACONS, INTERFACES, PORT
from operando.streamer.service.tiled_server import free_port

READ = """
import json, sys
import epics
found = {}
for name in sys.argv[1:]:
    pv = epics.PV(name, form="ctrl", auto_monitor=False)
    assert pv.wait_for_connection(10), name
    value = pv.get(as_string=pv.type.endswith(("char", "enum", "string")), timeout=10)
    pv.get_ctrlvars()
    found[name] = {
        "value": value if isinstance(value, str) else float(value),
        "units": pv.units, "precision": pv.precision, "severity": pv.severity,
        "writeable": pv.write_access, "high": pv.upper_warning_limit, "hihi": pv.upper_alarm_limit,
    }
print(json.dumps(found))
"""


class Client:
    """Runs scripts with pyepics where they find the IOC of a test."""

    def __init__(self, port: int) -> None:
        self.environment = {
            **os.environ,
            PORT: str(port),
            "EPICS_CA_ADDR_LIST": "127.0.0.1",
            "EPICS_CA_AUTO_ADDR_LIST": "NO",
        }

    def start(self, script: str, *arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-u", "-c", script, *arguments],
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, script: str, *arguments: str) -> str:
        """Run a script to its end; return what it printed."""
        with self.start(script, *arguments) as process:
            out, err = process.communicate(timeout=60)
        assert process.returncode == 0, err
        return out

    def read(self, *names: str) -> dict[str, dict[str, Any]]:
        """Value, units, precision, severity, limits and access of process variables."""
        return json.loads(self.run(READ, *names).splitlines()[-1])


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch) -> Client:
    """Client of an IOC that is started in this test, at a port of its own."""
    port = free_port()
    monkeypatch.setenv(PORT, str(port))
    for name in (INTERFACES, BEACONS, AUTO_BEACONS):
        monkeypatch.setenv(name, "")
    return Client(port)


@pytest.fixture
def start_client(tmp_path: Path) -> Callable[[int], Client]:
    """Client of an IOC in another process."""
    return Client
