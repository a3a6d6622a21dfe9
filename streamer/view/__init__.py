"""What an operator wants to know of a running scan, kept from its result documents.

Pure: `update` takes a document, `take_rows` the rows of a stream as a reader of Tiled has them. The
soft IOC and the terminal show a `LiveView`.
"""

from .state import Advice, Drift, FrameNow, LiveView, ParticleNow, Phase
from .told import age, frame_rate, lag, median_velocity, particle_counts, worst_alert
from .update import init, stream_of, take_rows, update

__all__ = [
    "Advice",
    "Drift",
    "FrameNow",
    "LiveView",
    "ParticleNow",
    "Phase",
    "age",
    "frame_rate",
    "init",
    "lag",
    "median_velocity",
    "particle_counts",
    "stream_of",
    "take_rows",
    "update",
    "worst_alert",
]
