"""Documents to frame references: which image, of what, at which energy. No I/O."""

from .arrivals import Known, known_streams
from .chunks import frames_from_chunk, shape_mismatch
from .core import count_dropped, end_run, init, update
from .settings import AssembleSettings, StreamRoles
from .state import Assembled, AssemblerState, Declined, Missing, Notice, RunStarted, RunStopped

__all__ = [
    "AssembleSettings",
    "Assembled",
    "AssemblerState",
    "Declined",
    "Known",
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
