"""What somebody at the beamline should know or do now: alerts and recommended moves."""

from .core import init, moved, update
from .documents import ADVICE_KEYS, advice_data
from .settings import AdviceSettings
from .state import Advice, AdviceState, Kind, Severity, StageMove

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
