"""What a process holds: memory, descriptors, threads (Linux)."""

from __future__ import annotations

import gc
from dataclasses import dataclass
from pathlib import Path


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


def _bytes(text: str) -> int:
    return int(text.split()[0]) * 1024
