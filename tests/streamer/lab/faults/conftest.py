"""Small documents of one run, and a way to send them through a script."""

from __future__ import annotations

import numpy as np
import pytest

from operando.streamer.lab import faults
from operando.streamer.lab.faults import FaultScript

SHAPE = (24, 32)


def data_keys(chunk=1):
    return {
        "cam": {"dtype": "array", "shape": [chunk, *SHAPE], "source": "test"},
        "mono_energy": {"dtype": "number", "shape": [], "units": "keV", "source": "test"},
    }


def image(number, chunk=1):
    rng = np.random.default_rng(number)
    return rng.poisson(1000.0, (chunk, *SHAPE)).astype(np.uint16)


def event(number, stream="primary"):
    return {
        "uid": f"{stream}-{number}",
        "descriptor": stream,
        "seq_num": number,
        "time": 100.0 + number,
        "data": {"cam": image(number), "mono_energy": 8.0 + number / 1000},
        "timestamps": {},
        "filled": {},
    }


def page(numbers, stream="primary"):
    events = [event(number, stream) for number in numbers]
    return {
        "descriptor": stream,
        **{key: [e[key] for e in events] for key in ("uid", "seq_num", "time")},
        "data": {key: [e["data"][key] for e in events] for key in ("cam", "mono_energy")},
        "timestamps": {},
        "filled": {},
    }


def descriptor(stream):
    keys = data_keys()
    return {"uid": stream, "run_start": "run", "name": stream, "time": 100.0, "data_keys": keys}


def run_of(*streams, events=()):
    """Documents of a run, each with its time of arrival."""
    documents = [("start", {"uid": "run", "time": 100.0})]
    documents += [("descriptor", descriptor(stream)) for stream in streams]
    documents += list(events)
    documents.append(("stop", {"uid": "end", "run_start": "run", "time": 200.0}))
    return documents


@pytest.fixture
def six():
    """A run of six events."""
    return run_of("primary", events=[("event", event(n)) for n in range(1, 7)])


@pytest.fixture
def send():
    """Send documents through faults; one second apart."""

    def apply(documents, *given, seed=0):
        script = FaultScript.model_validate({"seed": seed, "faults": list(given)})
        state, sent = faults.init(), []
        for at, (name, doc) in enumerate(documents):
            state, out = faults.update(state, script, name, doc, float(at))
            sent += out
        state, out = faults.finish(state)
        apply.state, apply.script = state, script
        return sent + list(out)

    return apply


@pytest.fixture
def numbers():
    """Event numbers of what arrives, in order; other documents by their initials."""

    def read(sent):
        told = []
        for item in sent:
            number = item.doc.get("seq_num", item.name[:2])
            told += number if isinstance(number, list) else [number]
        return told

    return read


@pytest.fixture
def make():
    """The makers of documents: event, page, run_of, image."""
    return {"event": event, "page": page, "run_of": run_of, "image": image}
