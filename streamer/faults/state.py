"""What is remembered between documents: plain, frozen data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from .sent import Sent
from .subject import Streams

NEVER = float("inf")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Held:
    """A document that is on its way.

    Attributes
    ----------
    run : uid of its run; stream : uid of its descriptor; both "" if it has none.
    due : when it arrives, s; `NEVER` if that depends on the documents after it alone.
    left : events of its stream that overtake it yet.
    """

    sent: Sent
    run: str
    stream: str
    due: float = NEVER
    left: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class FaultState:
    """What is remembered between documents.

    Attributes
    ----------
    streams : by the uid of their descriptor.
    held : documents on their way, in the order in which they were sent.
    clear : nothing arrives before, s: something holds up the connection.
    joined : runs (place of the fault in the script, uid) of which a late joiner gets documents.
    injected, impossible : how often each kind struck, and found nothing to put itself in.
    """

    streams: Streams = field(default_factory=dict)
    held: tuple[Held, ...] = ()
    clear: float = float("-inf")
    joined: frozenset[tuple[int, str]] = frozenset()
    injected: Mapping[str, int] = field(default_factory=dict)
    impossible: Mapping[str, int] = field(default_factory=dict)


def counted(
    state: FaultState, book: Literal["injected", "impossible"], kind: str, n: int = 1
) -> FaultState:
    """Add to `injected` or `impossible`."""
    entries: Mapping[str, int] = getattr(state, book)
    return replace(state, **{book: {**entries, kind: entries.get(kind, 0) + n}})
