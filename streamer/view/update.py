"""Result documents into a live view."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from ..frames import Document
from .state import BOOKS, NAN, Advice, Drift, FrameNow, LiveView, ParticleNow, Phase

_DRIFTS_KEPT = 600
_EMITTED_KEPT = 256
_ADVICES_KEPT = 8

Row = Mapping[str, Any]


def init() -> LiveView:
    """A view of nothing."""
    return LiveView()


def update(view: LiveView, name: str, doc: Document) -> LiveView:
    """Take one result document into account.

    The run that began last is shown; documents of others are passed over. Who begins to listen in
    the middle of a run has missed its descriptors: its events are then told apart by their keys.
    """
    if name == "start":
        return start(doc)
    if name == "descriptor" and doc["run_start"] == view.run:
        return replace(view, streams={**view.streams, doc["uid"]: doc["name"]})
    if name == "event":
        stream = view.streams.get(doc["descriptor"]) or ("" if view.run else stream_of(doc["data"]))
        return take_rows(view, stream, [{"time": doc["time"], **doc["data"]}])
    if name == "stop" and view.run in ("", doc["run_start"]):
        return stop(view, doc)
    return view


def start(doc: Document) -> LiveView:
    """View of a run that begins."""
    return LiveView(
        phase=Phase.RUNNING,
        run=str(doc["uid"]),
        raw=str(doc.get("original_run_uid", "")),
        sample=str(doc.get("sample", "")),
    )


def stop(view: LiveView, doc: Document) -> LiveView:
    """View of a run that has ended."""
    ledger = doc.get("ledger", {})
    books = {book: _total(ledger.get(book, view.books[book])) for book in BOOKS}
    exit_status = str(doc["exit_status"])
    return replace(view, phase=Phase.ENDED, exit_status=exit_status, books=books, alerts={})


def stream_of(data: Row) -> str:
    """Name of the stream that an event belongs to, by its keys; "" if it is none of those shown."""
    if "ledger_received" in data:
        return "frames"
    if "displacement_y" in data:
        return "particles"
    return "advice" if "severity" in data else ""


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
        return _settled(view, (view.frame.number, view.frame.revision))
    take = {"frames": _frame, "advice": _advice}.get(stream)
    if take is not None:
        for row in rows:
            view = take(view, row)
    return view


def _frame(view: LiveView, row: Row) -> LiveView:
    number, revision = int(row["frame"]), int(row["revision"])
    y, x, sigma = (float(row[f"drift_{part}"]) for part in ("y", "x", "sigma"))
    drift = Drift(y=y, x=x, sigma=sigma)
    emitted = float(row["time"]) + float(row["latency"])
    # the second look at a scan that is over tells all its frames again
    newest = (number, revision) >= (view.frame.number, view.frame.revision)
    view = _settled(view, (number, revision))
    return replace(
        view,
        phase=Phase.RUNNING if view.phase is Phase.IDLE else view.phase,
        frame=_newest(view.frame, row, drift, emitted) if newest else view.frame,
        drifts=_kept({**view.drifts, number: drift}),
        emitted=(*view.emitted, emitted)[-_EMITTED_KEPT:] if revision == 0 else view.emitted,
        books={book: int(row[f"ledger_{book}"]) for book in BOOKS},
    )


def _newest(before: FrameNow, row: Row, drift: Drift, emitted: float) -> FrameNow:
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


def _settled(view: LiveView, told: tuple[int, int]) -> LiveView:
    """Take particles over whose frame, by its number and revision, has been told.

    A reader of Tiled may see frames before their particles, which are another stream.
    """
    coming = tuple(p for p in view.coming if (p.frame, p.revision) > told)
    if len(coming) == len(view.coming):
        return view
    return replace(view, particles=_merged(view, told), coming=coming)


def _merged(view: LiveView, told: tuple[int, int]) -> dict[int, ParticleNow]:
    merged = dict(view.particles)
    for row in view.coming:
        known, place = merged.get(row.particle), (row.frame, row.revision)
        newest = known is None or place >= (known.frame, known.revision)
        if place <= told and newest:
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
    advice = Advice(
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


def _kept(drifts: dict[int, Drift]) -> dict[int, Drift]:
    while len(drifts) > _DRIFTS_KEPT:
        del drifts[min(drifts)]
    return drifts


def _total(book: Any) -> int:
    return sum(book.values()) if isinstance(book, Mapping) else int(book)
