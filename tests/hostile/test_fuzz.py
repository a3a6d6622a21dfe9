"""Documents that nobody should send never raise, and never make the state grow without end."""

from __future__ import annotations

import copy
import random

import numpy as np
from event_model import compose_run, pack_datum_page, pack_event_page
from hypothesis import given, settings
from hypothesis import strategies as st

from operando.streamer.core import assemble
from operando.streamer.core.frames import FrameRef, Rejected

ODD = [
    None,
    True,
    -1,
    0,
    10**30,
    1.5,
    float("nan"),
    float("inf"),
    "",
    "nobody",
    "é\0",
    b"bytes",
    [],
    [[]],
    [1, [2, 3]],
    {},
    {"start": 5, "stop": 2},
    {"start": 0, "stop": 10**15},
    {1: 2},
    np.zeros((9, 9)),
    np.zeros(3, object),
    np.float32(1),
    {"a"},
    object(),
]
KNOWN = (
    assemble.RunStarted,
    assemble.RunStopped,
    assemble.Declined,
    assemble.Missing,
    assemble.Notice,
)


def composed() -> list[tuple[str, object]]:
    """One run with in-line, datum and streamed images."""
    run = compose_run(metadata={"eng_list": [8.3, 8.4], "motors": ["energy"]})
    image = {"source": "s", "dtype": "array", "shape": [9, 9]}
    energy = {"source": "s", "dtype": "number", "shape": [], "units": "keV"}
    exposure = {"data": {"cam_acquire_time": 1.0}, "timestamps": {"cam_acquire_time": 0.0}}
    exposure["data_keys"] = {"cam_acquire_time": energy}
    docs: list[tuple[str, object]] = [("start", run.start_doc)]
    inline = run.compose_descriptor(
        name="primary", data_keys={"cam": image, "energy": energy}, configuration={"cam": exposure}
    )
    docs.append(("descriptor", inline.descriptor_doc))
    events = [
        inline.compose_event(
            data={"cam": np.ones((9, 9)), "energy": 8.3},
            timestamps={"cam": 0, "energy": 0},
            validate=False,
        )
        for _ in range(2)
    ]
    docs += [("event", events[0]), ("event_page", pack_event_page(*events))]
    flat = run.compose_descriptor(
        name="flat", data_keys={"cam": {**image, "external": "FILESTORE:"}}
    )
    docs.append(("descriptor", flat.descriptor_doc))
    resource = run.compose_resource(
        spec="AD_TIFF", root="/a", resource_path="b", resource_kwargs={"frame_per_point": 2}
    )
    docs.append(("resource", resource.resource_doc))
    datums = [resource.compose_datum(datum_kwargs={"point_number": i}) for i in range(2)]
    docs += [("datum", datums[0]), ("datum_page", pack_datum_page(*datums))]
    for datum in datums:
        event = flat.compose_event(
            data={"cam": datum["datum_id"]}, timestamps={"cam": 0}, filled={"cam": False}
        )
        docs.append(("event", event))
    fly = run.compose_descriptor(
        name="dark", data_keys={"cam": {**image, "shape": [1, 9, 9], "external": "STREAM:"}}
    )
    docs.append(("descriptor", fly.descriptor_doc))
    stream_resource, compose = run.compose_stream_resource(
        mimetype="application/x-hdf5", uri="file:///a/b.h5", data_key="cam", parameters={}
    )
    docs.append(("stream_resource", stream_resource))
    for i in range(3):
        index = {"start": i, "stop": i + 1}
        number = {"start": i + 1, "stop": i + 2}
        docs.append(
            ("stream_datum", compose(index, seq_nums=number, descriptor=fly.descriptor_doc))
        )
    docs.append(("stop", run.compose_stop()))
    return docs


def mutate(value: object, rng: random.Random) -> object:
    """Put something odd somewhere into a document."""
    if isinstance(value, dict) and value and rng.random() < 0.8:
        key = rng.choice(sorted(value, key=str))
        if rng.random() < 0.2:
            return {k: v for k, v in value.items() if k != key}
        return {**value, key: mutate(value[key], rng)}
    if isinstance(value, list) and value and rng.random() < 0.7:
        index = rng.randrange(len(value))
        return [mutate(v, rng) if i == index else v for i, v in enumerate(value)]
    return rng.choice(ODD)


@settings(max_examples=150, deadline=None, derandomize=True, database=None)
@given(seed=st.integers(0, 2**32 - 1), share=st.sampled_from([0.1, 0.3, 1.0]))
def test_mutated_shuffled_lost_and_repeated_documents_never_raise(seed, share):
    rng = random.Random(seed)
    state = assemble.init()
    docs = composed()
    if rng.random() < 0.5:
        rng.shuffle(docs)
    docs += rng.sample(docs, 3)
    runs = 0
    for name, doc in docs:
        odd = mutate(doc, rng) if rng.random() < share else doc
        before = copy.copy(state)
        after, out = assemble.update(state, name, odd)
        assert state == before or state is before
        for item in out:
            assert isinstance(item, (*KNOWN, FrameRef, Rejected))
            if isinstance(item, FrameRef):
                assert (item.array is None) != (item.asset is None)
                assert item.energy is None or 0 < item.energy < float("inf")
            if isinstance(item, assemble.Notice):
                assert "\n" not in item.message
        runs += sum(isinstance(o, assemble.RunStarted) for o in out)
        state = after
    known = frames_of(state, composed())
    assert known == 7, "the next good run is understood"
    for run in list(state.runs):
        state, out = assemble.end_run(state, run)
        assert isinstance(out[-1], assemble.RunStopped)
    assert not state.runs
    assert not state.streams


@settings(max_examples=40, deadline=None, derandomize=True, database=None)
@given(name=st.text(max_size=8), doc=st.sampled_from(ODD))
def test_unknown_names_and_non_documents_give_one_notice(name, doc):
    for known in ("start", "event", "event_page", "stream_datum", "datum_page", "stop", name):
        state, out = assemble.update(assemble.init(), known, doc)
        assert [type(o) for o in out] == [assemble.Notice]
        _, again = assemble.update(state, known, doc)
        assert again == ()


def frames_of(state, docs):
    """How many frames a run gives."""
    out = []
    for name, doc in docs:
        state, more = assemble.update(state, name, doc)
        out += more
    return sum(isinstance(item, FrameRef) for item in out)


def test_the_composed_run_is_understood():
    assert frames_of(assemble.init(), composed()) == 7  # the page's first event was there before


def test_runs_and_streams_that_nobody_ends_are_bounded():
    state, ended = assemble.init(), 0
    for i in range(2000):
        state, out = assemble.update(state, "start", {"uid": f"r{i}", "time": 1.0})
        ended += sum(isinstance(item, assemble.RunStopped) for item in out)
    assert len(state.runs) == 1000
    assert ended == 1000
    for i in range(2000):
        doc = {"uid": f"d{i}", "run_start": "r1999", "name": "primary", "data_keys": {}}
        state, out = assemble.update(state, "descriptor", doc)
    assert len(state.streams) == 1000
    assert frames_of(state, composed()) == 7


def test_notices_are_short_and_so_is_what_is_remembered_of_them():
    state, out = assemble.update(
        assemble.init(), "event", {"descriptor": "d" * 10**6, "seq_num": 1}
    )
    assert len(out[0].message) <= 600
    assert len(state.orphans[0]) <= 160
