"""What the assembler hands on, in the order of the documents."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from ..frames import FrameRef, Rejected, Role


@dataclass(frozen=True, slots=True, kw_only=True)
class RunStarted:
    """A raw run opened; `start` is its start document (a stand-in if that was lost)."""

    run: str
    start: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class RunStopped:
    """A raw run ended.

    Attributes
    ----------
    stop : its stop document, None if it never came.
    notices : how often what a `Notice` tells once has happened, by kind.
    """

    run: str
    stop: Mapping[str, Any] | None
    notices: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Missing:
    """Images that a run had and that will never be seen, told when it ends or when they were lost.

    Attributes
    ----------
    count : images. reason : never_arrived, no_descriptor if their descriptor was lost, or what the
        source says.
    """

    run: str
    role: Role
    count: int
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Declined:
    """A run that announced no image at all, and why, in one line. At most one per run."""

    run: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """Something a person should know, said once per run and subject.

    Attributes
    ----------
    run : uid of the raw run, "" if it is not known.
    kind : stable word: shape, image_key, energy_key, energy_unit, energy, exposure, time, role,
        orphan, malformed, duplicate, lost_event, no_stop, unknown_document.
    message : one line.
    """

    run: str
    kind: str
    message: str


Assembled: TypeAlias = RunStarted | FrameRef | Rejected | Declined | Notice | Missing | RunStopped
