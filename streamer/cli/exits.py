"""How commands end, for whoever supervises them."""

from __future__ import annotations

from enum import IntEnum


class Exit(IntEnum):
    """Exit statuses of all commands."""

    OK = 0
    ERROR = 1
    USAGE = 2
    LOST = 3
    INTERRUPTED = 130


MEANING: dict[Exit, str] = {
    Exit.OK: "clean end: everything that came was processed and delivered",
    Exit.ERROR: "an error that is told in one line, or a fault of ours with its traceback",
    Exit.USAGE: "wrong options; starting it again does not help",
    Exit.LOST: "ended, but documents were dropped or results did not arrive; the log tells which",
    Exit.INTERRUPTED: "interrupted before the end (a second Ctrl-C or SIGTERM)",
}


def epilog() -> str:
    """The statuses as one paragraph for ``--help``."""
    told = "; ".join(f"{int(status)}: {meaning}" for status, meaning in MEANING.items())
    return f"Exit status {told}."
