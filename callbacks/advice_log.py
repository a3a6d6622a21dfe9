"""Advice in the log of the service."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

logger = logging.getLogger(__name__)

_LEVELS = {"alarm": logging.WARNING, "warning": logging.INFO}


def log_advice(name: str, doc: Mapping[str, Any]) -> None:
    """Subscriber of results: alarms as warnings, warnings as information; moves are not told."""
    data = doc["data"] if name == "event" else {}
    level = _LEVELS.get(data.get("severity", ""))
    if level is not None:
        logger.log(level, "frame %d: %s", data["frame"], data["message"])
