"""Load on a service: runs that are rendered beforehand and published, and what they cost it."""

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
import numpy as np
from prometheus_client.parser import text_string_to_metric_families

from ....callbacks.publisher import FramePublisher
from ...core.frames import NamedDocument
from ..simulate import SimSettings, ni_edge_energies, preset, simulate_documents
from .harness import Progress, no_progress, sample_events

_UIDS = ("uid", "run_start", "descriptor")
_ENERGIES = 40  # by eye: a scan over the edge; longer runs repeat it


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
        return cls(documents, len(sample_events(documents)))

    def run(self, sample: str | None = None) -> Iterator[tuple[NamedDocument, bool]]:
        """Yield the documents of a run of its own, timed now, and which are sample frames.

        Parameters
        ----------
        sample : its sample; None: none is named.
        """
        uids: dict[str, str] = {}
        frames = frozenset(sample_events(self.documents))
        for number, (name, doc) in enumerate(self.documents):
            new = {key: uids.setdefault(doc[key], str(uuid4())) for key in _UIDS if key in doc}
            changed: dict[str, Any] = {**doc, **new, "time": time.time()}
            if name == "start":
                changed.pop("sample", None)
                if sample is not None:
                    changed["sample"] = sample
            yield (name, changed), number in frames


def prepare_documents(
    preset_name: str, frames: int, progress: Progress = no_progress
) -> list[NamedDocument]:
    """Render a run beforehand, so that the simulator takes no time from what is measured.

    The energies go over the edge again and again; the flats of all of them come first.

    Parameters
    ----------
    preset_name : what is simulated. frames : number of sample frames.
    progress : is called for each event.
    """
    scan = ni_edge_energies(min(frames, _ENERGIES))
    energies = tuple(float(e) for e in np.resize(scan, frames))
    settings = preset(preset_name, energies=energies)
    documents: list[NamedDocument] = []
    flats: set[str] = set()
    events = 0
    for name, doc in simulate_documents(settings, order="flat_first", chunk=1):
        if name == "descriptor" and doc["name"] == "flat":
            flats.add(doc["uid"])
        if name == "event":
            events += 1
            progress("rendering", events, 2 * frames + 1)
            if doc["descriptor"] in flats and doc["seq_num"] > len(scan):
                continue
        documents.append((name, doc))
    return documents


def publish(
    documents: list[NamedDocument],
    rate: float,
    publisher: FramePublisher,
    progress: Progress = no_progress,
) -> int:
    """Send the documents, sample frames at the rate, with the time of their sending.

    Returns the number of sample frames; `progress` is called before each.
    """
    frames = sample_events(documents)
    sent, due = 0, time.monotonic()
    for number, (name, doc) in enumerate(documents):
        if sent < len(frames) and number == frames[sent]:
            due = max(due, time.monotonic() - 1.0) + 1.0 / rate
            time.sleep(max(0.0, due - time.monotonic()))
            sent += 1
            progress("publishing", sent, len(frames))
        publisher(name, {**doc, "time": time.time()} if "time" in doc else doc)
    return sent


# Memory, descriptors and threads of a process (Linux).


@dataclass(frozen=True, slots=True)
class Resources:
    """Holdings of a process.

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
    status = dict(line.split(":", 1) for line in (folder / "status").read_text().splitlines())
    return Resources(
        rss=_bytes(status["VmRSS"]),
        peak=_bytes(status["VmHWM"]),
        descriptors=sum(1 for _ in (folder / "fd").iterdir()),
        threads=int(status["Threads"]),
    )


def cpu_seconds(pid: int) -> float:
    """Read the time that a process has computed so far, all threads, user and system, s.

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


# Metrics of a running service.


@dataclass(frozen=True, slots=True)
class Scraped:
    """Samples of one scrape, by name and labels."""

    samples: Mapping[tuple[str, frozenset[tuple[str, str]]], float]

    def sum(self, name: str, **labels: str) -> float:
        """Add up the samples of a name that have these labels; 0 if there are none."""
        wanted = labels.items()
        return sum(
            value for (key, has), value in self.samples.items() if key == name and wanted <= has
        )

    def by(self, name: str, *labels: str) -> dict[tuple[str, ...], float]:
        """Return the samples of a name by the values of some labels."""
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
