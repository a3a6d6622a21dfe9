"""The state of a live view, as plain data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

NAN = float("nan")

BOOKS = ("received", "aligned", "degraded", "skipped", "dropped")


class Phase(StrEnum):
    """How far the run is that is shown."""

    IDLE = "idle"
    RUNNING = "running"
    ENDED = "ended"


@dataclass(frozen=True, slots=True, kw_only=True)
class Drift:
    """Drift of a frame.

    Attributes
    ----------
    y, x, sigma : px; NaN if unknown.
    """

    y: float = NAN
    x: float = NAN
    sigma: float = NAN


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameNow:
    """The newest frame.

    Attributes
    ----------
    number : 0-based; -1 before the first. revision : of its values.
    energy : eV, NaN if unknown.
    status : aligned, degraded, skipped; "" before the first. reason : for the last two.
    latency : s, from the event of the frame to its first result.
    emitted : s since the epoch, when that result was emitted.
    """

    number: int = -1
    revision: int = 0
    energy: float = NAN
    status: str = ""
    reason: str = ""
    latency: float = NAN
    emitted: float = NAN
    drift: Drift = Drift()


@dataclass(frozen=True, slots=True, kw_only=True)
class ParticleNow:
    """The newest row of a particle; vectors are (y, x).

    Attributes
    ----------
    frame, revision : of the row.
    yx, sigma, displacement : px. velocity : px/s.
    """

    particle: int
    frame: int
    revision: int
    state: str
    yx: tuple[float, float]
    sigma: tuple[float, float]
    displacement: tuple[float, float]
    velocity: tuple[float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Advice:
    """One row of ``advice``.

    Attributes
    ----------
    severity : info, warning or alarm. particle : -1 if it concerns none.
    move : recommended (y, x), px; NaN if none is. acted : whether it was followed.
    active : False when what was told before is over.
    """

    kind: str = ""
    severity: str = ""
    message: str = ""
    particle: int = -1
    move: tuple[float, float] = (NAN, NAN)
    acted: bool = False
    active: bool = True
    time: float = NAN


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveView:
    """What is known of the run that began last.

    Attributes
    ----------
    run, raw : uids of result run and raw run; "" if they are not known.
    streams : name of each stream of the run by the uid of its descriptor.
    particles : newest row of each particle, by its number.
    coming : rows of a frame whose own row has not come yet.
    drifts : by frame number, of the last frames.
    emitted : s since the epoch, of the last first results.
    books : frames by what became of them, see `streamer.ledger.Ledger`.
    advices : the last ones, oldest first; n_advices : how many there were.
    alerts : those that are not over, by kind and particle.
    """

    phase: Phase = Phase.IDLE
    run: str = ""
    raw: str = ""
    sample: str = ""
    exit_status: str = ""
    streams: Mapping[str, str] = field(default_factory=dict)
    frame: FrameNow = FrameNow()
    particles: Mapping[int, ParticleNow] = field(default_factory=dict)
    coming: tuple[ParticleNow, ...] = ()
    drifts: Mapping[int, Drift] = field(default_factory=dict)
    emitted: tuple[float, ...] = ()
    books: Mapping[str, int] = field(default_factory=lambda: dict.fromkeys(BOOKS, 0))
    advices: tuple[Advice, ...] = ()
    n_advices: int = 0
    alerts: Mapping[tuple[str, int], Advice] = field(default_factory=dict)

    @property
    def advice(self) -> Advice:
        """The newest advice."""
        return self.advices[-1] if self.advices else Advice()
