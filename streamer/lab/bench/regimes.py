"""Situations in which accuracy and detection are measured: what is simulated, what is judged."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from ....models.settings import DetectSettings
from ...core.frames import NamedDocument
from ...errors import ConfigError
from ..simulate import SimSettings, Truth, preset
from ..simulate.documents import IMAGE_KEY, Order


@dataclass(frozen=True, slots=True)
class Regime:
    """One situation.

    Attributes
    ----------
    name : of the regime. description : one line. preset, changes : of the simulator.
    """

    name: str
    description: str
    preset: str = "paper"
    changes: Mapping[str, Any] = field(default_factory=dict)

    def simulator(self, seed: int, **more: Any) -> SimSettings:
        """Return settings of the simulator."""
        return preset(self.preset, **{**self.changes, "seed": seed, **more})


R = TypeVar("R", bound=Regime)


def _by_name(*regimes: R) -> Mapping[str, R]:
    return MappingProxyType({regime.name: regime for regime in regimes})


def choose(names: Sequence[str] | None, regimes: Mapping[str, R]) -> list[R]:
    """Select regimes by name, all of them if no name is given.

    Raises
    ------
    ConfigError
        If there is none of that name.
    """
    for name in names or ():
        if name not in regimes:
            raise ConfigError(f"regime: got {name!r}; choose from {', '.join(regimes)}")
    return [regimes[name] for name in names or regimes]


# Which true particles an accuracy regime asks for.


def whole(truth: Truth) -> Truth:
    """Ask for particles that lie wholly inside the frame."""
    return truth


def centre_inside(truth: Truth) -> Truth:
    """Ask for particles whose centre of mass lies inside the frame, cut or not.

    The position asked for is that of the whole silhouette, as if the frame went on: what a user
    who follows a cut particle needs.
    """
    inside = np.all((truth.yx >= 0) & (truth.yx <= truth.shape - 1), axis=-1)
    return replace(truth, cut=~inside)


def judged_but_spoilt(truth: Truth) -> Truth:
    """Ask for nothing in spoilt frames; what is reported there counts neither way."""
    cut = truth.cut.copy()
    cut[spoilt_frames(truth.n_frames)] = True
    return replace(truth, cut=cut)


# Images that went wrong at the beamline: blank, blurred, or the one before once more.

Images = NDArray[np.uint16]
_EVERY, _FIRST = 8, 5  # which frames; by eye: often enough to matter, never two in a row
_BLUR_PX = 5.0  # by eye: no structure of a particle is left
_DARK, _READ_NOISE = 100.0, 3.0  # counts, as the simulator's camera has them


def _spoilt(turn: int, now: Images, before: Images) -> Images:
    """Leave the shutter closed, move the sample meanwhile, or send the image before, in turn."""
    if turn % 3 == 0:
        rng = np.random.default_rng(int(now[0, 0, 0]))
        return rng.normal(_DARK, _READ_NOISE, now.shape).round().astype(np.uint16)
    if turn % 3 == 1:
        return np.asarray(gaussian_filter(now, (0, _BLUR_PX, _BLUR_PX)), np.uint16)
    return before


def spoilt_frames(n: int) -> NDArray[np.int64]:
    """Tell which of the n frames of a run are spoilt."""
    return np.arange(_FIRST, n, _EVERY)


def spoil(documents: Iterator[NamedDocument]) -> Iterator[NamedDocument]:
    """Spoil every eighth sample image of a run: blank, blurred and stale in turn."""
    primary: set[str] = set()
    before: Any = None
    for name, doc in documents:
        if name == "descriptor" and doc["name"] == "primary":
            primary.add(doc["uid"])
        if name != "event" or doc["descriptor"] not in primary:
            yield name, doc
            continue
        now = doc["data"][IMAGE_KEY]
        turn, rest = divmod(doc["seq_num"] - 1 - _FIRST, _EVERY)
        if turn >= 0 and rest == 0:
            doc = {**doc, "data": {**doc["data"], IMAGE_KEY: _spoilt(turn, now, before)}}
        before = now
        yield name, doc


@dataclass(frozen=True, slots=True)
class AccuracyRegime(Regime):
    """Scans whose positions are compared with the truth.

    Attributes
    ----------
    energies, quick : energies of a scan in a full and in a quick bench.
    order : when the flats come; with ``fxi`` provisional and final values differ.
    transform : what happens to the documents of each run on their way.
    judged : marks in a truth which instances count as wanted (not ``cut``).
    """

    energies: int = 143
    quick: int = 36
    order: Order = "flat_first"
    transform: Callable[[Iterator[NamedDocument]], Iterator[NamedDocument]] = iter
    judged: Callable[[Truth], Truth] = whole

    def settings(self, seed: int, *, quick: bool = False) -> SimSettings:
        """Return settings of the simulator, for all scans of the regime."""
        return self.simulator(seed, n_energies=self.quick if quick else self.energies)


ACCURACY = _by_name(
    AccuracyRegime(
        "paper", "nine particles apart from each other, a flat after each energy", order="fxi"
    ),
    AccuracyRegime("calm", "hardly any motion", "calm"),
    AccuracyRegime("strong_jitter", "stage re-positioned by 8 px rms per energy", "strong_jitter"),
    AccuracyRegime("low_counts", "300 counts, one exposure", "low_counts"),
    AccuracyRegime("vanishing", "contrast below the edge of a few hundredths OD", "vanishing"),
    AccuracyRegime("crowd", "forty small particles", "crowd"),
    AccuracyRegime(
        "births_departures",
        "two particles enter, two leave, one is hidden for five frames",
        "births_departures",
    ),
    AccuracyRegime("touching", "six in ten particles touch another", "touching"),
    AccuracyRegime(
        "background",
        "three times the background structure, light that moves after its flat",
        "background",
    ),
    AccuracyRegime(
        "off_centre", "oxidation runs through each particle from one side", "off_centre"
    ),
    AccuracyRegime(
        "cut",
        "particles cut by the rim of the frame; judged while their centre is inside",
        "cut",
        judged=centre_inside,
    ),
    AccuracyRegime(
        "magnification", "magnification falls by 1.2e-4 per eV (zone plate)", "magnification"
    ),
    AccuracyRegime(
        "mishaps",
        "blank, blurred and stale images now and then; they are not judged",
        energies=60,
        transform=spoil,
        judged=judged_but_spoilt,
    ),
    AccuracyRegime(
        "six_scans", "six runs of one sample, 15 px rms apart", "six_scans", energies=40, quick=12
    ),
)


# Detection: samples of one kind, each seen at some energies.

FIRST_SEED = 900_000
"""Seeds from here on are held out: nothing may be trained, or tuned by hand, on them."""
_SEEDS_EACH = 100  # more than any regime has samples
# around the Ni K edge of the simulator, whose white line lies at 8354 eV
_BELOW = (8250.0, 8300.0, 8326.0, 8333.0)
_AT = (8339.0, 8343.0, 8348.0, 8354.0)
_ABOVE = (8362.0, 8380.0, 8430.0, 8520.0)
_OVER_THE_EDGE = (8280.0, 8333.0, 8344.0, 8350.0, 8362.0, 8450.0)
_LARGE = (50.0, 340.0)  # px: particles of 60 to 310 px at 31 nm/px, with a margin


@dataclass(frozen=True, slots=True)
class DetectionRegime(Regime):
    """Samples in which detectors are compared.

    Attributes
    ----------
    number : of its own, from which its seeds follow.
    energies : eV. samples : how many, each with a seed of its own.
    diameters : smallest and largest to look for, px; None for those of the profile.
    full : only part of a full bench, as it takes long.
    """

    number: int = -1
    energies: tuple[float, ...] = _OVER_THE_EDGE
    samples: int = 3
    diameters: tuple[float, float] | None = None
    full: bool = False

    def detect(self, base: DetectSettings) -> DetectSettings:
        """Return the settings of a profile's detector with the sizes of this regime."""
        if self.diameters is None:
            return base
        low, high = self.diameters
        return base.model_copy(update={"min_diameter_px": low, "max_diameter_px": high})

    def simulated(self, *, quick: bool = False) -> list[SimSettings]:
        """Return settings of the simulator by sample; quick: one, at the first and last energy."""
        energies = (self.energies[0], self.energies[-1]) if quick else self.energies
        first = FIRST_SEED + _SEEDS_EACH * self.number
        seeds = range(first, first + (1 if quick else self.samples))
        return [self.simulator(seed, energies=energies) for seed in seeds]


DETECTION = _by_name(
    DetectionRegime("above", "above the edge", number=0, energies=_ABOVE),
    DetectionRegime("at", "at the edge", number=1, energies=_AT),
    DetectionRegime("below", "below the edge, up to just below", number=2, energies=_BELOW),
    DetectionRegime(
        "low_counts_above",
        "300 counts, one exposure, above the edge",
        "low_counts",
        number=3,
        energies=_ABOVE,
    ),
    DetectionRegime(
        "low_counts_below",
        "300 counts, one exposure, below the edge",
        "low_counts",
        number=4,
        energies=_BELOW,
    ),
    DetectionRegime(
        "starved",
        "60 counts, one exposure, below the edge",
        "low_counts",
        {"counts": 60.0},
        number=13,
        energies=_BELOW,
    ),
    DetectionRegime(
        "faint",
        "below an edge with a quarter of the usual contrast before it",
        changes={"pre_edge": 0.05},
        number=14,
        energies=_BELOW,
    ),
    DetectionRegime(
        "faint_low_counts",
        "the same with 300 counts, one exposure",
        "low_counts",
        {"pre_edge": 0.05},
        number=15,
        energies=_BELOW,
    ),
    DetectionRegime(
        "blurred",
        "three times the width of the PSF, 300 counts, one exposure",
        "low_counts",
        {"psf_px": 3.0},
        number=16,
    ),
    DetectionRegime("crowd", "forty small particles", "crowd", number=5, samples=2),
    DetectionRegime("touching", "six in ten particles touch another", "touching", number=6),
    DetectionRegime(
        "background",
        "three times the background structure, light that moves after its flat",
        "background",
        number=7,
    ),
    DetectionRegime(
        "vanishing", "contrast below the edge of a few hundredths OD", "vanishing", number=8
    ),
    DetectionRegime("cut", "particles cut by the rim", "cut", number=9),
    DetectionRegime(
        "off_centre", "oxidation runs through each particle from one side", "off_centre", number=10
    ),
    DetectionRegime(
        "ssrl_like",
        "1024 x 1024 px, light down to 4 % at two sides, large particles",
        "ssrl_like",
        number=11,
        samples=2,
        diameters=_LARGE,
    ),
    DetectionRegime(
        "large_2048",
        "2048 x 2048 px, large particles",
        "large_2048",
        number=12,
        samples=2,
        diameters=_LARGE,
        full=True,
    ),
)
