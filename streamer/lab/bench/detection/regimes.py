"""The situations in which detectors are compared, and the seeds that belong to them alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from .....models.settings import DetectSettings
from ...simulate import SimSettings, preset

FIRST_SEED = 900_000
"""Seeds from here on are held out: nothing may be trained, or tuned by hand, on them."""

_SEEDS_EACH = 100

_BELOW = (8250.0, 8300.0, 8326.0, 8333.0)

_AT = (8339.0, 8343.0, 8348.0, 8354.0)

_ABOVE = (8362.0, 8380.0, 8430.0, 8520.0)

_ALL = (8280.0, 8333.0, 8344.0, 8350.0, 8362.0, 8450.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class DetectionRegime:
    """Some samples of one kind, each seen at some energies.

    Attributes
    ----------
    name : of the regime. description : one line.
    number : of its own, from which its seeds follow.
    preset, changes : of the simulator.
    energies : eV. samples : how many, each with a seed of its own.
    diameters : smallest and largest to look for, px; None for those of the profile.
    full : only part of a full bench, as it takes long.
    """

    name: str
    description: str
    number: int
    preset: str = "paper"
    changes: Mapping[str, Any] = field(default_factory=dict)
    energies: tuple[float, ...] = _ALL
    samples: int = 3
    diameters: tuple[float, float] | None = None
    full: bool = False

    def detect(self, base: DetectSettings) -> DetectSettings:
        """Settings of the detector: those of a profile, with the sizes of this regime."""
        if self.diameters is None:
            return base
        low, high = self.diameters
        return base.model_copy(update={"min_diameter_px": low, "max_diameter_px": high})

    def simulated(self, *, quick: bool = False) -> list[SimSettings]:
        """Settings of the simulator, one for each sample; a quick bench has one, at two energies.

        They are those of the first and the last energy.
        """
        energies = (self.energies[0], self.energies[-1]) if quick else self.energies
        first = FIRST_SEED + _SEEDS_EACH * self.number
        return [
            preset(self.preset, **{**self.changes, "seed": seed, "energies": energies})
            for seed in range(first, first + (1 if quick else self.samples))
        ]


_LARGE = (50.0, 340.0)

_ALL_REGIMES = (
    DetectionRegime(number=0, name="above", description="above the edge", energies=_ABOVE),
    DetectionRegime(number=1, name="at", description="at the edge", energies=_AT),
    DetectionRegime(
        number=2, name="below", description="below the edge, up to just below", energies=_BELOW
    ),
    DetectionRegime(
        number=3,
        name="low_counts_above",
        description="300 counts, one exposure, above the edge",
        preset="low_counts",
        energies=_ABOVE,
    ),
    DetectionRegime(
        number=4,
        name="low_counts_below",
        description="300 counts, one exposure, below the edge",
        preset="low_counts",
        energies=_BELOW,
    ),
    DetectionRegime(
        number=13,
        name="starved",
        description="60 counts, one exposure, below the edge",
        preset="low_counts",
        changes={"counts": 60.0},
        energies=_BELOW,
    ),
    DetectionRegime(
        number=14,
        name="faint",
        description="below an edge with a quarter of the usual contrast before it",
        changes={"pre_edge": 0.05},
        energies=_BELOW,
    ),
    DetectionRegime(
        number=15,
        name="faint_low_counts",
        description="the same with 300 counts, one exposure",
        preset="low_counts",
        changes={"pre_edge": 0.05},
        energies=_BELOW,
    ),
    DetectionRegime(
        number=16,
        name="blurred",
        description="three times the width of the PSF, 300 counts, one exposure",
        preset="low_counts",
        changes={"psf_px": 3.0},
    ),
    DetectionRegime(
        number=5, name="crowd", description="forty small particles", preset="crowd", samples=2
    ),
    DetectionRegime(
        number=6,
        name="touching",
        description="six in ten particles touch another",
        preset="touching",
    ),
    DetectionRegime(
        number=7,
        name="background",
        description="three times the background structure, light that moves after its flat",
        preset="background",
    ),
    DetectionRegime(
        number=8,
        name="vanishing",
        description="contrast below the edge of a few hundredths OD",
        preset="vanishing",
    ),
    DetectionRegime(number=9, name="cut", description="particles cut by the rim", preset="cut"),
    DetectionRegime(
        number=10,
        name="off_centre",
        description="oxidation runs through each particle from one side",
        preset="off_centre",
    ),
    DetectionRegime(
        number=11,
        name="ssrl_like",
        description="1024 x 1024 px, light down to 4 % at two sides, large particles",
        preset="ssrl_like",
        samples=2,
        diameters=_LARGE,
    ),
    DetectionRegime(
        number=12,
        name="large_2048",
        description="2048 x 2048 px, large particles",
        preset="large_2048",
        samples=2,
        diameters=_LARGE,
        full=True,
    ),
)

REGIMES: Mapping[str, DetectionRegime] = MappingProxyType(
    {regime.name: regime for regime in _ALL_REGIMES}
)
