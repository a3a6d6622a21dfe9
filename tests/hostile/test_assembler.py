"""The assembler takes every hostile document, says something, and understands the next good run."""

from __future__ import annotations

import numpy as np
import pytest

from operando.streamer.core import assemble
from operando.streamer.core.frames import FrameRef, Rejected
from operando.streamer.io.wire.codec import dumps, loads

from .documents import CASES, UNKNOWN
from .good import good_run

KINDS = (
    assemble.RunStarted, assemble.RunStopped, assemble.Declined, assemble.Notice,
    FrameRef, Rejected, assemble.Missing,
)  # fmt: skip


def taken(state, documents):
    """State and outputs after documents."""
    out = []
    for name, doc in documents:
        state, more = assemble.update(state, name, doc)
        for item in more:
            assert isinstance(item, KINDS)
            if isinstance(item, assemble.Notice):
                assert "\n" not in item.message
                assert len(item.message) < 1000
            if isinstance(item, FrameRef | Rejected):
                assert np.isfinite(item.time)
                assert item.energy is None or 0 < item.energy < 1e13
                assert 1 <= item.key.seq_num < 2**53
            if isinstance(item, assemble.RunStarted):
                assert type(item.start["time"]) is float
                assert np.isfinite(item.start["time"])
        out += more
    return state, out


def of_run(out, uid):
    """Frames of a run, as they can be compared."""
    return [
        (o.key, o.role, o.energy, o.exposure, o.time, np.asarray(o.array).tobytes())
        for o in out
        if isinstance(o, FrameRef) and o.key.run == uid
    ]


@pytest.fixture(scope="module")
def reference():
    run = good_run("good")
    _, out = taken(assemble.init(), run)
    frames = of_run(out, run[0][1]["uid"])
    assert len(frames) >= 3
    return frames


@pytest.mark.parametrize("case", CASES)
def test_after_hostile_documents_the_next_run_is_understood(case, reference):
    documents = [(name, loads(dumps(doc))) for name, doc in CASES[case]]
    state, out = taken(assemble.init(), documents)
    run = good_run("good")
    state, out = taken(state, run)
    assert of_run(out, run[0][1]["uid"]) == reference
    for uid in list(state.runs):
        state, _ = assemble.end_run(state, uid)
    assert not state.streams


def test_the_same_with_everything_at_once(reference):
    state = assemble.init()
    run = good_run("good")
    frames = []
    hostile = [document for documents in CASES.values() for document in documents]
    step = len(hostile) // len(run) + 1
    for i, document in enumerate(run):
        state, _ = taken(state, hostile[i * step : (i + 1) * step])
        state, out = taken(state, [document])
        frames += of_run(out, run[0][1]["uid"])
    assert frames == reference


def test_what_is_no_document_gives_a_notice():
    for name, doc in UNKNOWN:
        _, out = taken(assemble.init(), [(name, doc)])
        assert [type(o) for o in out] == [assemble.Notice], (name, doc)
