"""What a process holds: memory, descriptors, threads (Linux)."""

from __future__ import annotations

import gc
import os
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
