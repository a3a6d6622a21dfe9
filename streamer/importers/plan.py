"""What an importer found, before any pixel is read."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from numpy.typing import NDArray

from ..frames import Role


@dataclass(frozen=True, slots=True, kw_only=True)
class Shot:
    """One exposure that becomes one event.

    Attributes
    ----------
    energy : eV, None if nothing tells it.
    exposure : s, None if nothing tells it.
    time : s since the epoch.
    source : file it comes from.
    read : returns the pixels (H, W); raises ImportDataError if they cannot be had.
    """

    role: Role
    energy: float | None
    exposure: float | None
    time: float
    source: Path
    read: Callable[[], NDArray[Any]]


class Skipped(NamedTuple):
    """Something that could not be imported, and why."""

    path: Path
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportPlan:
    """All exposures of one run, in the order in which they become events.

    Attributes
    ----------
    importer : name in ``IMPORTERS``.
    identity : text that is the same whenever the same data are imported; the uids follow from it.
    sample : name of the sample.
    metadata : further keys for the start document.
    """

    importer: str
    identity: str
    sample: str
    shots: tuple[Shot, ...]
    skipped: tuple[Skipped, ...] = ()
    metadata: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportReport:
    """What became of an import.

    Attributes
    ----------
    run : uid of the run.
    files : files that gave at least one image.
    images : images written, by stream.
    energies : number of different energies of the sample images.
    skipped : what was left out, with the reasons.
    output : the recording.
    """

    importer: str
    run: str
    files: int
    images: Mapping[str, int]
    energies: int
    skipped: tuple[Skipped, ...]
    output: Path
