"""Events that came, and that the source had no room for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from ..frames import FrameKey, Role
from .announce import Outcome, count_image
from .arrivals import contains, frames_of
from .outputs import Missing
from .state import AssemblerState


def given_up(state: AssemblerState, told: Mapping[str, Any]) -> Outcome:
    """Count the images of events that a source gave up: they came, and nobody will see them.

    Parameters
    ----------
    told : their ``descriptor``, ``seq_nums`` as ranges of first and last, and the ``reason``, see
        `streamer.sources.losses`. Pixels that lie in files are announced otherwise, and lost only
        if those documents are.
    """
    stream = state.streams.get(told["descriptor"])
    if stream is None or stream.role is None or stream.image is None or stream.image.streamed:
        return state, ()
    lost: Counter[Role] = Counter()
    for first, last in told["seq_nums"]:
        for number in range(first, last + 1):
            if contains(state.runs[stream.run].arrived.get(stream.name, ()), number):
                continue  # another copy of the event has come
            key = FrameKey(
                run=stream.run, stream=stream.name, data_key=stream.image.name, seq_num=number
            )
            state = count_image(state, key)
            lost[stream.role] += frames_of(state, stream)
    out = (
        Missing(run=stream.run, role=role, count=count, reason=str(told["reason"]))
        for role, count in lost.items()
    )
    return state, tuple(out)
