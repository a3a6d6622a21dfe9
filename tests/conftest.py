"""Fixtures that every test may use."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from operando.streamer.service.tiled_server import EmbeddedTiled

# threads of torch that wait for each other on busy cores make tests ten times slower
os.environ.setdefault("OMP_NUM_THREADS", "1")

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def repo_root() -> Path:
    """Folder that holds pyproject.toml."""
    return ROOT


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Real data beside the checkout; tests that need it skip where it is absent."""
    for base in (ROOT.parent / "shared" / "data",):
        if base.is_dir():
            return base
    pytest.skip("the shared real data is not beside this checkout (../shared/data)")


@pytest.fixture(scope="session")
def result_documents() -> list[tuple[str, dict[str, Any]]]:
    """What the processor makes of a simulated scan of eight energies with three particles."""
    from helpers.results import collect

    from operando.streamer.lab.simulate import SimSettings, simulate_documents

    settings = SimSettings(
        shape=(160, 160),
        n_particles=3,
        radius_px=(12, 16),
        energies=tuple(8345.0 + 3 * i for i in range(8)),
        chunk=1,
        jitter_px=0.5,
        drift_px=3.0,
        wander_px=0.5,
    )
    return collect(simulate_documents(settings), "sim_txm")


@pytest.fixture(scope="session")
def tiled_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedTiled]:
    """A real Tiled server in a process of its own, shared by all tests: use fresh run uids."""
    with EmbeddedTiled(tmp_path_factory.mktemp("tiled")) as server:
        yield server
