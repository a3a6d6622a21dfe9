"""Acting on results, in the process of the RunEngine: opt-in, checked, recorded.

Nothing here imports torch. `Recentring` brings the field back between energies, `HoldOnAdvice`
holds the RunEngine; both listen to result documents, in the process or, with `ResultListener`,
from 0MQ.
"""

from .decision import FeedbackSettings
from .holding import HoldOnAdvice
from .latest import LatestFrame, LatestResults, ResultListener
from .matrix import StageMatrix
from .recentring import Recentring

__all__ = [
    "FeedbackSettings",
    "HoldOnAdvice",
    "LatestFrame",
    "LatestResults",
    "Recentring",
    "ResultListener",
    "StageMatrix",
]
