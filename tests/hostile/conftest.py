"""The canary, and everything of the corpus by name."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture
def canary(tmp_path) -> Path:
    """Path that no payload may have created when the test is over."""
    path = tmp_path / "canary"
    yield path
    assert not path.exists(), "a payload was executed"
