"""Spectra and chemistry of each particle, incrementally: what XANES says while the scan goes on.

>>> state = init()
>>> state, told = update(state, result, basis, settings)   # each frame, each revision
>>> state = revise(state, result, basis, settings)         # the same in silence
>>> told = finish(state, basis, settings)                  # at the stop of the run
"""

from .basis import Basis, PhaseReference, digest, make_basis, make_reference
from .rows import MapsRow, SpectrumRow, XanesUpdate
from .settings import ReferenceSettings, XanesSettings
from .state import XanesState
from .update import finish, init, revise, update

__all__ = [
    "Basis",
    "MapsRow",
    "PhaseReference",
    "ReferenceSettings",
    "SpectrumRow",
    "XanesSettings",
    "XanesState",
    "XanesUpdate",
    "digest",
    "finish",
    "init",
    "make_basis",
    "make_reference",
    "revise",
    "update",
]
