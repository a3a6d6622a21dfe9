"""The regimes in which accuracy is measured: what is simulated, and what is judged of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from ....core.frames import NamedDocument
from ...simulate import SimSettings, Truth, preset
from ...simulate.documents import IMAGE_KEY, Order

Transform = Callable[[Iterator[NamedDocument]], Iterator[NamedDocument]]
_EVERY = 8
_FIRST = 5
_BLUR_PX = 5.0
_DARK, _READ_NOISE = 100.0, 3.0  # counts, as the simulator's camera has them
Images = NDArray[np.uint16]

# Which instances of the true particles a regime asks for.


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


# Images that went wrong at the beamline: blank, blurred, or the one before once more.


def _blank(now: Images, before: Images) -> Images:  # noqa: ARG001 - one signature for all
    """The shutter stayed closed: nothing but the offset and its noise."""
    rng = np.random.default_rng(int(now[0, 0, 0]))
    return rng.normal(_DARK, _READ_NOISE, now.shape).round().astype(np.uint16)


def _blurred(now: Images, before: Images) -> Images:  # noqa: ARG001
    """The sample moved while the image was taken."""
    return np.asarray(gaussian_filter(now, (0, _BLUR_PX, _BLUR_PX)), np.uint16)


def _stale(now: Images, before: Images) -> Images:  # noqa: ARG001
    """The detector sent the buffer of the energy before."""
    return before


_KINDS: tuple[Callable[[Images, Images], Images], ...] = (_blank, _blurred, _stale)


def spoilt_frames(n: int) -> NDArray[np.int64]:
    """Which of the n frames of a run are spoilt."""
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
            images = _KINDS[turn % len(_KINDS)](now, before)
            doc = {**doc, "data": {**doc["data"], IMAGE_KEY: images}}
        before = now
        yield name, doc


def judged_but_spoilt(truth: Truth) -> Truth:
    """Ask for nothing in spoilt frames; what is reported there counts neither way."""
    cut = truth.cut.copy()
    cut[spoilt_frames(truth.n_frames)] = True
    return replace(truth, cut=cut)


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
