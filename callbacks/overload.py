"""Events that came, and that the source had no room for: their frames stand in the ledger."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from ..streamer.assemble import AssemblerState
from ..streamer.frames import FrameKey, Role
from ..streamer.sources.losses import numbers_of
from .raw_run import RawRun


def book_lost(
    assembler: AssemblerState, told: Mapping[str, Any], run_of: Callable[[str], RawRun]
) -> None:
    """Enter events that were given up into the ledger of their run, as dropped.

    Parameters
    ----------
    assembler : its state when the events would have come.
    told : which events, as the source tells it, see `Losses`.
    run_of : gives the run of a uid, and begins its results if that has not been done.
    """
    for key, role in _images(assembler, told):
        run = run_of(key.run)
        if role is Role.SAMPLE:
            if run.has_seen(key):  # another copy of the event has come
                continue
            run.saw(key)
        run.output.dropped(role, told["reason"])


def _images(assembler: AssemblerState, told: Mapping[str, Any]) -> Iterator[tuple[FrameKey, Role]]:
    """Images that went with the events; pixels that lie in files are announced otherwise."""
    stream = assembler.streams.get(told["descriptor"])
    if stream is None or stream.role is None or stream.image is None or stream.image.streamed:
        return
    for number in numbers_of(told["seq_nums"]):
        key = FrameKey(
            run=stream.run, stream=stream.name, data_key=stream.image.name, seq_num=number
        )
        yield key, stream.role
