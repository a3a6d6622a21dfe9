"""The command line, in this process and as a process of its own."""

from __future__ import annotations

import logging
import signal
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import pytest

from operando.streamer.cli import main
from operando.streamer.lab.simulate import SimSettings, simulate_documents


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    status: int
    out: str
    err: str


@pytest.fixture
def run_cli(monkeypatch, capsys) -> Iterator[Callable[..., Ended]]:
    """Run a command in this process; leaves neither signal handlers nor log levels behind."""
    handlers = {n: signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)}
    root, levels = logging.getLogger(), {}
    kept, level = root.handlers[:], root.level
    for name in ("operando.callbacks.processor.processor", "httpx", "httpcore", "tiled", "bluesky"):
        levels[name] = logging.getLogger(name).level
    monkeypatch.setenv("COLUMNS", "200")

    def run(*arguments: str) -> Ended:
        monkeypatch.setattr(sys, "argv", ["operando", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        captured = capsys.readouterr()
        return Ended(ended.value.code, captured.out, captured.err)

    yield run
    for number, handler in handlers.items():
        signal.signal(number, handler)
    root.handlers[:], root.level = kept, level
    for name, before in levels.items():
        logging.getLogger(name).setLevel(before)


@pytest.fixture(scope="session")
def small_run():
    """Documents of a small simulated scan."""
    settings = SimSettings(
        shape=(160, 160),
        n_particles=3,
        radius_px=(12, 16),
        energies=tuple(np.linspace(8350, 8360, 5)),
        chunk=1,
        jitter_px=0.5,
        drift_px=1.0,
        wander_px=0.5,
    )
    return list(simulate_documents(settings))
