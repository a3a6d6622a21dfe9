"""Documents to frame references: which image, of what, at which energy. No I/O."""

from .arrivals import Known, known_streams
from .chunks import frames_from_chunk, shape_mismatch
from .core import end_run, init, update
from .given_up import given_up
from .outputs import Assembled, Declined, Missing, Notice, RunStarted, RunStopped
from .settings import AssembleSettings, StreamRoles
from .state import AssemblerState

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
    "end_run",
    "frames_from_chunk",
    "given_up",
    "init",
    "known_streams",
    "shape_mismatch",
    "update",
]
