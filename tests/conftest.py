"""Fixtures that every test may use."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from operando.streamer.tiled_server import EmbeddedTiled

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
def tiled_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedTiled]:
    """A real Tiled server in a process of its own, shared by all tests: use fresh run uids."""
    with EmbeddedTiled(tmp_path_factory.mktemp("tiled")) as server:
        yield server
