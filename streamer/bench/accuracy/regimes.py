"""The regimes in which accuracy is measured: what is simulated, and what is judged of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from ...frames import NamedDocument
from ...simulate import SimSettings, Truth, preset
from ...simulate.documents import Order
from .judged import centre_inside, whole
from .mishaps import judged_but_spoilt, spoil

Transform = Callable[[Iterator[NamedDocument]], Iterator[NamedDocument]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Regime:
    """One situation in which the results are compared with the truth.

    Attributes
    ----------
    name : of the regime. description : one line. preset : of the simulator.
    energies, quick : energies of a scan in a full and in a quick bench.
    order : when the flats come; with ``fxi`` provisional and final values differ.
    transform : what happens to the documents of each run on their way.
    judged : marks in a truth which instances count as wanted (not ``cut``).
    """

    name: str
    description: str
    preset: str
    energies: int = 143
    quick: int = 36
    order: Order = "flat_first"
    transform: Transform = iter
    judged: Callable[[Truth], Truth] = whole

    def settings(self, seed: int, *, quick: bool = False) -> SimSettings:
        """Settings of the simulator, for all scans of the regime."""
        n = self.quick if quick else self.energies
        return preset(self.preset, seed=seed, n_energies=n)


_ALL = (
    Regime(
        name="paper",
        description="nine particles apart from each other, a flat after each energy",
        preset="paper",
        order="fxi",
    ),
    Regime(name="calm", description="hardly any motion", preset="calm"),
    Regime(
        name="strong_jitter",
        description="stage re-positioned by 8 px rms per energy",
        preset="strong_jitter",
    ),
    Regime(name="low_counts", description="300 counts, one exposure", preset="low_counts"),
    Regime(
        name="vanishing",
        description="contrast below the edge of a few hundredths OD",
        preset="vanishing",
    ),
    Regime(name="crowd", description="forty small particles", preset="crowd"),
    Regime(
        name="births_departures",
        description="two particles enter, two leave, one is hidden for five frames",
        preset="births_departures",
    ),
    Regime(name="touching", description="six in ten particles touch another", preset="touching"),
    Regime(
        name="background",
        description="three times the background structure, light that moves after its flat",
        preset="background",
    ),
    Regime(
        name="off_centre",
        description="oxidation runs through each particle from one side",
        preset="off_centre",
    ),
    Regime(
        name="cut",
        description="particles cut by the rim of the frame; judged while their centre is inside",
        preset="cut",
        judged=centre_inside,
    ),
    Regime(
        name="magnification",
        description="magnification falls by 1.2e-4 per eV (zone plate)",
        preset="magnification",
    ),
    Regime(
        name="mishaps",
        description="blank, blurred and stale images now and then; they are not judged",
        preset="paper",
        energies=60,
        transform=spoil,
        judged=judged_but_spoilt,
    ),
    Regime(
        name="six_scans",
        description="six runs of one sample, 15 px rms apart",
        preset="six_scans",
        energies=40,
        quick=12,
    ),
)

REGIMES: Mapping[str, Regime] = MappingProxyType({regime.name: regime for regime in _ALL})
