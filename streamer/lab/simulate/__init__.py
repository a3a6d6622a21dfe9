"""Simulate a transmission X-ray microscope with a charging, deforming electrode, and its truth."""

from .documents import simulate_documents
from .settings import PRESETS, SimSettings, preset
from .simulator import Simulator
from .spectra import EDGE_REGION, NI_K_EDGE, ni_edge_energies
from .truth import Truth

__all__ = [
    "EDGE_REGION",
    "NI_K_EDGE",
    "PRESETS",
    "SimSettings",
    "Simulator",
    "Truth",
    "ni_edge_energies",
    "preset",
    "simulate_documents",
]
