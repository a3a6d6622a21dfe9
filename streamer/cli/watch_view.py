"""A live view on the terminal."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from rich import box
from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from ..core.view import (
    AdviceView,
    LiveView,
    ParticleNow,
    Phase,
    age,
    frame_rate,
    lag,
    particle_counts,
)

_MOST_PARTICLES = 16
_MOST_ADVICES = 4
_STALE_S = 10.0
_ORDER = ["tracked", "tentative", "coasting", "lost", "retired"]
_OF_STATE = {"tentative": "cyan", "coasting": "yellow", "lost": "red", "retired": "dim"}
_OF_STATUS = {"aligned": "green", "degraded": "yellow", "skipped": "red"}
_OF_SEVERITY = {"info": "", "warning": "yellow", "alarm": "bold red"}
BARS = "▁▂▃▄▅▆▇█"
GAP = " "


def view_of(view: LiveView, now: float, width: int = 100, trouble: str = "") -> RenderableType:
    """Return everything on one screen.

    Parameters
    ----------
    now : s since the epoch. width : of the terminal, characters.
    trouble : with where the results come from, "" if there is none.
    """
    parts: list[RenderableType] = [_run(view), _pace(view, now)]
    if view.drifts:
        parts += [Text(), *_drift(view, width)]
    if view.particles:
        parts += [Text(), _particles(view)]
    parts += [Text(), _ledger(view), *_advices(view)]
    if trouble:
        parts.append(Text(_plain(trouble), style="bold red"))
    return Panel(Group(*parts), title="operando", box=box.ROUNDED, width=width)


def _run(view: LiveView) -> Text:
    if view.phase is Phase.IDLE:
        return Text("waiting for a run", style="dim")
    text = Text(f"run {_plain(view.raw)[:8] or 'of before we listened'}", style="bold")
    if view.sample:
        text.append(f"  {_plain(view.sample)}")
    ended = f"  {view.phase} {view.exit_status}".rstrip()
    text.append(ended, style="green" if view.phase is Phase.RUNNING else "dim")
    frame = view.frame
    if frame.number >= 0:
        text.append(f"   frame {frame.number}  ")
        if math.isfinite(frame.energy):
            text.append(f"{frame.energy:.2f} eV  ")
        text.append(frame.status, style=_OF_STATUS.get(frame.status, ""))
        if frame.reason:
            text.append(f" ({_plain(frame.reason)})", style="yellow")
    return text


def _pace(view: LiveView, now: float) -> Text:
    if view.frame.number < 0:
        return Text("no frame yet", style="dim")
    since = age(view, now)
    text = Text(f"{frame_rate(view, now):.1f} frames/s   latency {_time(view.frame.latency)}   ")
    text.append(f"{lag(view)} waiting   ")
    stale = since > _STALE_S and view.phase is Phase.RUNNING
    text.append(f"last result {_time(since)} ago", style="yellow" if stale else "")
    return text


def _drift(view: LiveView, width: int) -> Iterator[Text]:
    room = max(10, width - 44)
    frames = sorted(view.drifts)
    for axis in ("y", "x"):
        values = [getattr(view.drifts[frame], axis) for frame in frames]
        low, high = span(values, room)
        text = Text(f"drift {axis} {_signed(getattr(view.frame.drift, axis)):>8} px ")
        text.append(f"{sparkline(values, room)} ", style="cyan")
        text.append(f"{_signed(low)} to {_signed(high)}", style="dim")
        yield text


def _particles(view: LiveView) -> Table:
    counts = particle_counts(view)
    told = ", ".join(f"{n} {state}" for state, n in counts.items() if n)
    table = Table(title=f"particles: {told}", title_justify="left", box=box.SIMPLE_HEAD)
    table.padding = (0, 1, 0, 0)
    for column in ("", "state", "y", "x", "±", "moved y", "moved x", "px/s y", "px/s x"):
        table.add_column(column, justify="left" if column == "state" else "right", no_wrap=True)
    rank = {state: number for number, state in enumerate(_ORDER)}
    order = sorted(
        view.particles.values(), key=lambda p: (rank.get(p.state, len(rank)), p.particle)
    )
    for particle in order[:_MOST_PARTICLES]:
        table.add_row(*_cells(particle), style=_OF_STATE.get(particle.state, ""))
    if len(order) > _MOST_PARTICLES:
        table.caption = f"and {len(order) - _MOST_PARTICLES} more"
    return table


def _cells(particle: ParticleNow) -> Iterator[Text]:
    sigma = math.hypot(*particle.sigma) / math.sqrt(2)
    numbers = (
        f"{particle.yx[0]:.2f}",
        f"{particle.yx[1]:.2f}",
        f"{sigma:.3f}" if math.isfinite(sigma) else "–",
        *(_signed(value) for value in (*particle.displacement, *particle.velocity)),
    )
    for text in (str(particle.particle), particle.state, *numbers):
        yield Text(text)


def _ledger(view: LiveView) -> Text:
    books = view.books
    text = Text(f"{books['received']} received = {books['aligned']} aligned")
    styles = {"degraded": "yellow", "skipped": "yellow", "dropped": "bold red"}
    for book, style in styles.items():
        text.append(f" + {books[book]} {book}", style=style if books[book] else "")
    waiting = lag(view)
    if waiting:
        text.append(f" + {waiting} waiting")
    return text


def _advices(view: LiveView) -> Iterator[Text]:
    if view.alerts:
        yield Text(f"alerts not over: {len(view.alerts)}", style="bold yellow")
    for advice in view.advices[-_MOST_ADVICES:]:
        yield _advice(advice)


def _advice(advice: AdviceView) -> Text:
    style = _OF_SEVERITY.get(advice.severity, "") if advice.active else "dim"
    text = Text(f"{_plain(advice.severity)} {_plain(advice.kind)}: ", style=style)
    text.append(_plain(advice.message))
    if all(map(math.isfinite, advice.move)):
        word = "moved" if advice.acted else "move"
        text.append(f"  [{word} ({_signed(advice.move[0])}, {_signed(advice.move[1])}) px]")
    return text


def _signed(value: float) -> str:
    return f"{value:+.2f}" if math.isfinite(value) else "–"


def _time(seconds: float) -> str:
    if not math.isfinite(seconds):
        return "unknown"
    for length, name in ((86400.0, "days"), (3600.0, "h"), (60.0, "min")):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {name}"
    return f"{seconds:.2f} s"


def _plain(text: str) -> str:
    """Return a text from the beamline without what a terminal might obey."""
    return "".join(c if c.isprintable() else " " for c in text)


def sparkline(values: Sequence[float], width: int) -> str:
    """Draw the last `width` values between their least and largest; gaps where one is unknown."""
    shown = list(values)[-width:]
    known = [v for v in shown if math.isfinite(v)]
    if not known:
        return ""
    low, high = min(known), max(known)
    return "".join(_bar(v, low, high) for v in shown)


def span(values: Sequence[float], width: int) -> tuple[float, float]:
    """Return the least and largest of the values that `sparkline` draws; NaN if there are none."""
    known = [v for v in list(values)[-width:] if math.isfinite(v)]
    return (min(known), max(known)) if known else (math.nan, math.nan)


def _bar(value: float, low: float, high: float) -> str:
    if not math.isfinite(value):
        return GAP
    if high <= low:
        return BARS[len(BARS) // 2]
    return BARS[round((value - low) / (high - low) * (len(BARS) - 1))]
