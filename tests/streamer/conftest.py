"""Stock parts of a beamline: a 0MQ proxy as a process of its own, a RunEngine."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import pytest
from bluesky import RunEngine

PROXY = """
from bluesky.callbacks.zmq import Proxy
proxy = Proxy("127.0.0.1", "127.0.0.1")
print(proxy.in_port, proxy.out_port, flush=True)
proxy.start()
"""


@pytest.fixture(scope="module")
def stock_proxy() -> Iterator[tuple[str, str]]:
    """Return the in and the out address of a running bluesky 0MQ proxy."""
    with subprocess.Popen([sys.executable, "-c", PROXY], stdout=subprocess.PIPE, text=True) as proc:
        assert proc.stdout is not None
        try:
            proxy_in, proxy_out = proc.stdout.readline().split()
            yield proxy_in, proxy_out
        finally:
            proc.kill()


@pytest.fixture
def run_engine() -> Iterator[RunEngine]:
    """Return a RunEngine whose event loop is closed afterwards, which bluesky itself never does."""
    engine = RunEngine({}, call_returns_result=False)
    yield engine
    engine.loop.call_soon_threadsafe(engine.loop.stop)
    engine._th.join()
    engine.loop.close()
