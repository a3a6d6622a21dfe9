"""Correct counts to optical density: provisional now, final when the flat is known.

>>> state = init()
>>> state, corrections = update(state, frame, settings)   # a frame of any role
>>> corrected = apply(image, correction, settings)         # image: the raw sample frame
>>> state, corrections = finish(state, settings)           # at the stop of the run
"""

from .corrector import check_pixels, finish, init, skip, update
from .reference import apply, prepare_flat
from .settings import CorrectSettings
from .state import BadFrameError, Correction, CorrectorState, PreparedReference

__all__ = [
    "BadFrameError",
    "CorrectSettings",
    "Correction",
    "CorrectorState",
    "PreparedReference",
    "apply",
    "check_pixels",
    "finish",
    "init",
    "prepare_flat",
    "skip",
    "update",
]
