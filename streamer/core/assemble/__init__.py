"""Assemble documents to frame references: which image, of what, at which energy. No I/O."""

from .chunks import frames_from_chunk, shape_mismatch
from .core import Arrivals, init, known_streams, update
from .runs import count_dropped, end_run
from .settings import AssembleSettings, StreamRoles
from .state import Assembled, AssemblerState, Declined, Missing, Notice, RunStarted, RunStopped

__all__ = [
    "Arrivals",
    "AssembleSettings",
    "Assembled",
    "AssemblerState",
    "Declined",
    "Missing",
    "Notice",
    "RunStarted",
    "RunStopped",
    "StreamRoles",
    "count_dropped",
    "end_run",
    "frames_from_chunk",
    "init",
    "known_streams",
    "shape_mismatch",
    "update",
]
