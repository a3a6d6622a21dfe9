"""Advice as events of the stream ``advice``."""

from __future__ import annotations

from typing import Any

from .state import Advice

ADVICE_KEYS: dict[str, tuple[str, str]] = {
    "kind": ("string", ""),
    "severity": ("string", ""),
    "message": ("string", ""),
    "particle": ("integer", ""),
    "move_y": ("number", "px"),
    "move_x": ("number", "px"),
    "acted": ("boolean", ""),
    "frame": ("integer", ""),
    "data_time": ("number", "s"),
    "sigma": ("number", "px"),
    "valid_s": ("number", "s"),
    "active": ("boolean", ""),
    "velocity_y": ("number", "px/s"),
    "velocity_x": ("number", "px/s"),
    "time_left": ("number", "s"),
}
"""Data keys of the stream with their type and unit."""


def advice_data(advice: Advice) -> dict[str, Any]:
    """Data of one event."""
    return {
        "kind": str(advice.kind),
        "severity": str(advice.severity),
        "message": advice.message,
        "particle": advice.particle,
        "move_y": advice.move[0],
        "move_x": advice.move[1],
        "acted": advice.acted,
        "frame": advice.frame,
        "data_time": advice.time,
        "sigma": advice.sigma,
        "valid_s": advice.valid_s,
        "active": advice.active,
        "velocity_y": advice.velocity[0],
        "velocity_x": advice.velocity[1],
        "time_left": advice.time_left,
    }
