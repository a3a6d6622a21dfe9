"""Named regimes of the simulator."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from ..errors import ConfigError
from .settings import SimSettings

PRESETS: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        # What the literature shows: nine particles apart from each other, 143 energies.
        "paper": {},
        "calm": {
            "jitter_px": 0.3,
            "drift_px": 2.0,
            "wander_px": 1.0,
            "strain": (0.002, -0.001, 0.0),
            "rotation_deg": 0.05,
            "background": 0.02,
        },
        # A stage that is re-positioned for the flat of every energy.
        "strong_jitter": {"jitter_px": 8.0, "drift_px": 25.0, "radius_px": (15.0, 38.0)},
        "low_counts": {"counts": 300.0, "chunk": 1},
        "crowd": {"n_particles": 40, "radius_px": (10.0, 18.0), "wander_px": 1.5},
        "births_departures": {"n_particles": 6, "births": 2, "departures": 2, "hidden": 1},
        "touching": {"touching": 0.6, "wander_px": 2.0},
        # Small loadings: nothing is seen below the edge.
        "vanishing": {"pre_edge": 0.01},
        # Thick binder, and a beam that does not stay where its flat was taken.
        "background": {"background": 0.12, "illumination_shift_px": 30.0, "flat_lag_px": 15.0},
        # Oxidation that runs through each particle from one side while it is scanned.
        "off_centre": {
            "chemistry": "off_centre",
            "charge": (0.05, 0.95),
            "radius_px": (20.0, 45.0),
        },
        "cut": {"allow_cut": True, "n_particles": 12},
        "magnification": {"magnification_per_ev": -1.2e-4},
        # One sample scan after scan; the stage comes back from elsewhere before each.
        "six_scans": {"scans": 6, "scan_jump_px": 15.0},
        "large_2048": {
            "shape": (2048, 2048),
            "n_particles": 20,
            "radius_px": (40.0, 150.0),
            "drift_px": 30.0,
            "wander_px": 8.0,
            "jitter_px": 4.0,
        },
        # Light that falls to a few percent at two sides, magnification that changes with energy,
        # flats with another exposure than the sample, large particles of which some are cut.
        "ssrl_like": {
            "shape": (1024, 1024),
            "n_particles": 9,
            "radius_px": (40.0, 120.0),
            "allow_cut": True,
            "illumination_low": 0.04,
            "magnification_per_ev": -1.2e-4,
            "exposure": 0.5,
            "flat_exposure": 0.3,
            "counts": 1500.0,
            "jitter_px": 5.0,
        },
    }
)


def preset(name: str, **changes: Any) -> SimSettings:
    """Make the settings of a named regime.

    Parameters
    ----------
    name : one of :data:`PRESETS`.
    **changes : settings that replace those of the regime.

    Raises
    ------
    ConfigError
        If there is no such regime.
    """
    if name not in PRESETS:
        raise ConfigError(f"simulator preset: got {name!r}; choose one of {', '.join(PRESETS)}")
    return SimSettings(**{**PRESETS[name], **changes})
