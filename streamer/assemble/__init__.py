"""Documents to frame references: which image, of what, at which energy. No I/O."""

from .chunks import frames_from_chunk, shape_mismatch
from .core import end_run, init, update
from .outputs import Assembled, Declined, Notice, RunStarted, RunStopped
from .settings import AssembleSettings, StreamRoles
from .state import AssemblerState

__all__ = [
    "AssembleSettings",
    "Assembled",
    "AssemblerState",
    "Declined",
    "Notice",
    "RunStarted",
    "RunStopped",
    "StreamRoles",
    "end_run",
    "frames_from_chunk",
    "init",
    "shape_mismatch",
    "update",
]
