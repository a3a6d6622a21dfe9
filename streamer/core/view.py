"""Live view of a running scan for its operator, kept from result documents.

Pure: `update` takes a document, `take_rows` the rows of a stream as a reader of Tiled has them.
The soft IOC and the terminal show a `LiveView`.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from statistics import median
from typing import Any

from .frames import Document
from .link.tracks import TrackState
from .streams import Row, Streams, stream_of

# by eye: what fits on a screen; 256 frames are more than come within `RATE_WINDOW_S`
_DRIFTS_KEPT = 600
_EMITTED_KEPT = 256
_ADVICES_KEPT = 8
NAN = float("nan")
BOOKS = ("received", "aligned", "degraded", "skipped", "dropped")
RATE_WINDOW_S = 10.0  # by eye
SEVERITIES = ("info", "warning", "alarm")


def init() -> LiveView:
    """Return a view of nothing."""
    return LiveView()


def update(view: LiveView, name: str, doc: Document) -> LiveView:
    """Take one result document into account.

    The run that began last is shown; documents of others are passed over. Who begins to listen in
    the middle of a run has missed its descriptors: its events are then told apart by their keys.
    """
    if name == "start":
        return start(doc)
    if name == "descriptor" and doc["run_start"] == view.run:
        return replace(view, streams=view.streams.updated(name, doc))
    if name == "event":
        _, stream = view.streams.of(doc)
        stream = stream or ("" if view.run else stream_of(doc["data"]))
        return take_rows(view, stream, [{"time": doc["time"], **doc["data"]}])
    if name == "stop" and view.run in ("", doc["run_start"]):
        return stop(view, doc)
    return view


def start(doc: Document) -> LiveView:
    """Return the view of a run that begins."""
    return LiveView(
        phase=Phase.RUNNING,
        run=str(doc["uid"]),
        raw=str(doc.get("original_run_uid", "")),
        sample=str(doc.get("sample", "")),
    )


def stop(view: LiveView, doc: Document) -> LiveView:
    """Return the view of a run that has ended."""
    ledger = doc.get("ledger", {})
    books = {book: _total(ledger.get(book, view.books[book])) for book in BOOKS}
    exit_status = str(doc["exit_status"])
    return replace(view, phase=Phase.ENDED, exit_status=exit_status, books=books, alerts={})


def take_rows(view: LiveView, stream: str, rows: Iterable[Row]) -> LiveView:
    """Take rows of a stream into account, in their order.

    Rows of particles count when the row of their frame has come.

    Parameters
    ----------
    stream : ``frames``, ``particles`` or ``advice``; others are passed over.
    rows : data of events, with their ``time``, s since the epoch.
    """
    if stream == "particles":
        view = replace(view, coming=(*view.coming, *map(_particle, rows)))
        return _release(view, (view.frame.number, view.frame.revision))
    take = {"frames": _frame, "advice": _advice}.get(stream)
    if take is not None:
        for row in rows:
            view = take(view, row)
    return view


def _frame(view: LiveView, row: Row) -> LiveView:
    number, revision = int(row["frame"]), int(row["revision"])
    y, x, sigma = (float(row[f"drift_{part}"]) for part in ("y", "x", "sigma"))
    drift = DriftView(y=y, x=x, sigma=sigma)
    emitted = float(row["time"]) + float(row["latency"])
    # the second pass over a scan emits all its frames again
    newest = (number, revision) >= (view.frame.number, view.frame.revision)
    view = _release(view, (number, revision))
    return replace(
        view,
        phase=Phase.RUNNING if view.phase is Phase.IDLE else view.phase,
        frame=_newest(view.frame, row, drift, emitted) if newest else view.frame,
        drifts=_kept({**view.drifts, number: drift}),
        emitted=(*view.emitted, emitted)[-_EMITTED_KEPT:] if revision == 0 else view.emitted,
        books={book: int(row[f"ledger_{book}"]) for book in BOOKS},
    )


def _newest(before: FrameNow, row: Row, drift: DriftView, emitted: float) -> FrameNow:
    first = int(row["revision"]) == 0
    return FrameNow(
        number=int(row["frame"]),
        revision=int(row["revision"]),
        energy=float(row["energy"]),
        status=str(row["status"]),
        reason=str(row["reason"] or ""),
        latency=float(row["latency"]) if first else before.latency,
        emitted=emitted if first else before.emitted,
        drift=drift,
    )


def _release(view: LiveView, shown: tuple[int, int]) -> LiveView:
    """Show the particles of frames up to one, by its number and revision.

    A reader of Tiled may see frames before their particles, which are another stream.
    """
    coming = tuple(p for p in view.coming if (p.frame, p.revision) > shown)
    if len(coming) == len(view.coming):
        return view
    return replace(view, particles=_merged(view, shown), coming=coming)


def _merged(view: LiveView, shown: tuple[int, int]) -> dict[int, ParticleNow]:
    merged = dict(view.particles)
    for row in view.coming:
        known, place = merged.get(row.particle), (row.frame, row.revision)
        newest = known is None or place >= (known.frame, known.revision)
        if place <= shown and newest:
            merged[row.particle] = row
    return merged


def _particle(row: Row) -> ParticleNow:
    return ParticleNow(
        particle=int(row["particle"]),
        frame=int(row["frame"]),
        revision=int(row["revision"]),
        state=str(row["state"]),
        yx=_pair(row, ""),
        sigma=_pair(row, "sigma_"),
        displacement=_pair(row, "displacement_"),
        velocity=_pair(row, "velocity_"),
    )


def _advice(view: LiveView, row: Row) -> LiveView:
    advice = AdviceView(
        kind=str(row["kind"]),
        severity=str(row["severity"]),
        message=str(row["message"]),
        particle=int(row.get("particle", -1)),
        move=(float(row.get("move_y", NAN)), float(row.get("move_x", NAN))),
        acted=bool(row.get("acted", False)),
        active=bool(row.get("active", True)),
        time=float(row["time"]),
    )
    advices = (*view.advices, advice)[-_ADVICES_KEPT:]
    key = (advice.kind, advice.particle)
    alerts = {k: v for k, v in view.alerts.items() if k != key}
    if advice.active and not advice.acted:
        alerts[key] = advice
    return replace(view, advices=advices, n_advices=view.n_advices + 1, alerts=alerts)


def _pair(row: Row, prefix: str) -> tuple[float, float]:
    return float(row[f"{prefix}y"]), float(row[f"{prefix}x"])


def _kept(drifts: dict[int, DriftView]) -> dict[int, DriftView]:
    while len(drifts) > _DRIFTS_KEPT:
        del drifts[min(drifts)]
    return drifts


def _total(book: Any) -> int:
    return sum(book.values()) if isinstance(book, Mapping) else int(book)


class Phase(StrEnum):
    """Phase of the run that is shown."""

    IDLE = "idle"
    RUNNING = "running"
    ENDED = "ended"


@dataclass(frozen=True, slots=True, kw_only=True)
class DriftView:
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
    drift: DriftView = DriftView()


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
class AdviceView:
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
    """State of the run that began last.

    Attributes
    ----------
    run, raw : uids of result run and raw run; "" if they are not known.
    streams : those of the run that are open.
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
    streams: Streams = field(default_factory=Streams)
    frame: FrameNow = FrameNow()
    particles: Mapping[int, ParticleNow] = field(default_factory=dict)
    coming: tuple[ParticleNow, ...] = ()
    drifts: Mapping[int, DriftView] = field(default_factory=dict)
    emitted: tuple[float, ...] = ()
    books: Mapping[str, int] = field(default_factory=lambda: dict.fromkeys(BOOKS, 0))
    advices: tuple[AdviceView, ...] = ()
    n_advices: int = 0
    alerts: Mapping[tuple[str, int], AdviceView] = field(default_factory=dict)

    @property
    def advice(self) -> AdviceView:
        """Return the newest advice."""
        return self.advices[-1] if self.advices else AdviceView()


def age(view: LiveView, now: float) -> float:
    """Return the time since the newest result, s; NaN before it. `now`: s since the epoch."""
    emitted = view.frame.emitted
    return max(0.0, now - emitted) if math.isfinite(emitted) else NAN


def frame_rate(view: LiveView, now: float) -> float:
    """Return frames per second over the last ten seconds; `now`: s since the epoch."""
    recent = [t for t in view.emitted if now - t <= RATE_WINDOW_S]
    if len(recent) < 2:
        return len(recent) / RATE_WINDOW_S
    whole = len(recent) == len(view.emitted)  # what came before is not known
    span = max(now - min(recent), 0.0) if whole else RATE_WINDOW_S
    n = len(recent) - 1 if whole else len(recent)
    return n / span if span > 0 else 0.0


def lag(view: LiveView) -> int:
    """Count frames that have been received and have no result yet."""
    books = view.books
    done = books["aligned"] + books["degraded"] + books["skipped"] + books["dropped"]
    return max(0, books["received"] - done)


def worst_alert(view: LiveView) -> AdviceView | None:
    """Return the worst alert that is not over, the newest of these; None if all is well."""
    rank = {severity: number for number, severity in enumerate(SEVERITIES)}
    newest_first = reversed(list(view.alerts.values()))
    return max(newest_first, key=lambda alert: rank.get(alert.severity, 0), default=None)


def particle_counts(view: LiveView) -> dict[str, int]:
    """Count particles by their newest state, in the order of their life."""
    counts = Counter(p.state for p in view.particles.values())
    return {str(state): counts[str(state)] for state in TrackState}


def median_velocity(view: LiveView) -> tuple[float, float]:
    """Return the median velocity of tracked particles, (y, x) px/s; NaN if there are none."""
    known = [
        p.velocity
        for p in view.particles.values()
        if p.state == TrackState.TRACKED and all(map(math.isfinite, p.velocity))
    ]
    if not known:
        return NAN, NAN
    ys, xs = zip(*known, strict=True)
    return median(ys), median(xs)
