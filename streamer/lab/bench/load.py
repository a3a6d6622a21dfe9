"""A rendered run that is published again and again, each time as a new run."""

from __future__ import annotations

import gc
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
from prometheus_client.parser import text_string_to_metric_families

from ...core.frames import NamedDocument
from ..simulate import SimSettings, simulate_documents

_UIDS = ("uid", "run_start", "descriptor")


@dataclass(frozen=True, slots=True)
class Recycled:
    """Documents of one run that stand for any number of runs.

    Attributes
    ----------
    documents : of the run, its flats first.
    frames : sample frames in it.
    """

    documents: Sequence[NamedDocument]
    frames: int

    @classmethod
    def render(cls, settings: SimSettings) -> Recycled:
        """Render the run, one exposure an event."""
        documents = list(simulate_documents(settings, order="flat_first", chunk=1))
        primary = _primary(documents)
        frames = sum(n == "event" and d["descriptor"] == primary for n, d in documents)
        return cls(documents, frames)

    def run(self, sample: str | None = None) -> Iterator[tuple[NamedDocument, bool]]:
        """Documents of a run of its own, with the time of now, and whether each is a sample frame.

        Parameters
        ----------
        sample : its sample; None: none is named.
        """
        uids: dict[str, str] = {}
        primary = _primary(self.documents)
        for name, doc in self.documents:
            new = {key: _renamed(doc[key], uids) for key in _UIDS if key in doc}
            changed: dict[str, Any] = {**doc, **new, "time": time.time()}
            if name == "start":
                changed.pop("sample", None)
                if sample is not None:
                    changed["sample"] = sample
            yield (name, changed), name == "event" and doc["descriptor"] == primary


def _renamed(uid: str, uids: dict[str, str]) -> str:
    return uids.setdefault(uid, str(uuid4()))


def _primary(documents: Sequence[NamedDocument]) -> str:
    return next(d["uid"] for n, d in documents if n == "descriptor" and d["name"] == "primary")


# What a process holds: memory, descriptors, threads (Linux).


@dataclass(frozen=True, slots=True)
class Resources:
    """What a process holds.

    Attributes
    ----------
    rss : resident memory, bytes. peak : the most that it has been, bytes.
    descriptors : open files, sockets and pipes. threads : its threads.
    """

    rss: int
    peak: int
    descriptors: int
    threads: int


def resources_of(pid: int | str = "self") -> Resources:
    """Look at a process; garbage of our own is collected before.

    Raises
    ------
    OSError
        There is no such process, or it belongs to somebody else.
    """
    if pid == "self":
        gc.collect()
    folder = Path("/proc") / str(pid)
    told = dict(line.split(":", 1) for line in (folder / "status").read_text().splitlines())
    return Resources(
        rss=_bytes(told["VmRSS"]),
        peak=_bytes(told["VmHWM"]),
        descriptors=sum(1 for _ in (folder / "fd").iterdir()),
        threads=int(told["Threads"]),
    )


def cpu_seconds(pid: int) -> float:
    """Time that a process has computed so far, all threads, user and system, s.

    Raises
    ------
    OSError
        There is no such process.
    """
    # the name, in parentheses, may hold spaces
    fields = (Path("/proc") / str(pid) / "stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _bytes(text: str) -> int:
    return int(text.split()[0]) * 1024


# Reads the metrics of a running service.


@dataclass(frozen=True, slots=True)
class Scraped:
    """Samples of one scrape, by name and labels."""

    samples: Mapping[tuple[str, frozenset[tuple[str, str]]], float]

    def sum(self, name: str, **labels: str) -> float:
        """Sum of the samples of a name that have these labels; 0 if there are none."""
        wanted = labels.items()
        return sum(
            value for (key, has), value in self.samples.items() if key == name and wanted <= has
        )

    def by(self, name: str, *labels: str) -> dict[tuple[str, ...], float]:
        """Samples of a name by the values of some labels."""
        return {
            tuple(dict(has)[label] for label in labels): value
            for (key, has), value in self.samples.items()
            if key == name
        }


def scrape(address: str) -> Scraped:
    """Ask a service for its metrics.

    Parameters
    ----------
    address : host:port of its ``--http``.

    Raises
    ------
    httpx.HTTPError
        It does not answer.
    """
    text = httpx.get(f"http://{address}/metrics", timeout=10.0).raise_for_status().text
    return Scraped(
        {
            (sample.name, frozenset(sample.labels.items())): sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
        }
    )
