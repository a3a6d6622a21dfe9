"""Advise people at the beamline: alerts and recommended moves."""

from .core import init, moved, update
from .settings import AdviceSettings
from .state import (
    ADVICE_KEYS,
    Advice,
    AdviceState,
    Kind,
    Severity,
    StageMove,
    advice_data,
)

__all__ = [
    "ADVICE_KEYS",
    "Advice",
    "AdviceSettings",
    "AdviceState",
    "Kind",
    "Severity",
    "StageMove",
    "advice_data",
    "init",
    "moved",
    "update",
]
