"""Spectra and chemistry of each particle, updated frame by frame while the scan goes on.

In the order of reading: `state` (and the rows that are published), `update` (entry points),
`spectrum` (masks, mean spectra and their features), `fit` (references, design and
fraction), `curve` (edge and white line), `maps` (the same of each pixel).
"""

from .fit import Basis, PhaseReference, digest, make_basis, make_reference
from .settings import ReferenceSettings, XanesSettings
from .state import MapsRow, SpectrumRow, XanesState, XanesUpdate
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
