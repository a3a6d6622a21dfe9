"""Documents composed with event-model, and a feed that remembers what came of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest
from event_model import compose_run

from operando.streamer.core import assemble
from operando.streamer.core.frames import FrameRef, Rejected

IMAGE = {"source": "SIM:cam", "dtype": "array", "shape": [16, 20], "object_name": "cam"}
STREAMED = {**IMAGE, "shape": [1, 16, 20], "external": "STREAM:", "dtype_numpy": "<u2"}
ENERGY = {"source": "SIM:en", "dtype": "number", "shape": [], "units": "keV", "object_name": "en"}


@dataclass
class Feed:
    """Feeds documents to the assembler."""

    settings: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.state = assemble.init(assemble.AssembleSettings(**self.settings))
        self.out: list[Any] = []

    def __call__(self, name: str, doc: Any) -> tuple[Any, ...]:
        self.state, out = assemble.update(self.state, name, doc)
        self.out += out
        return out

    def all(self, documents: Any) -> Feed:
        for name, doc in documents:
            self(name, doc)
        return self

    def of(self, kind: type) -> list[Any]:
        return [o for o in self.out if isinstance(o, kind)]

    @property
    def refs(self) -> list[FrameRef]:
        return self.of(FrameRef)

    @property
    def rejected(self) -> list[Rejected]:
        return self.of(Rejected)

    def notices(self, kind: str) -> list[str]:
        return [n.message for n in self.of(assemble.Notice) if n.kind == kind]


class Run:
    """A run composed with event-model."""

    def __init__(self, feed: Feed, **start: Any) -> None:
        self.feed = feed
        self.bundle = compose_run(time=1000.0, metadata=start)
        self.uid = self.bundle.start_doc["uid"]
        feed("start", self.bundle.start_doc)

    def stream(self, name: str, data_keys: dict[str, Any], **extra: Any) -> Stream:
        extra.setdefault("configuration", {})
        bundle = self.bundle.compose_descriptor(
            name=name, data_keys=data_keys, object_keys={}, **extra
        )
        self.feed("descriptor", bundle.descriptor_doc)
        return Stream(self.feed, bundle)

    def files(self, data_key: str, mimetype: str = "application/x-hdf5", **parameters: Any) -> Any:
        doc, datum = self.bundle.compose_stream_resource(
            mimetype=mimetype,
            uri="file://localhost/data/scan.h5",
            data_key=data_key,
            parameters={"dataset": "/entry/data/data", "chunk_shape": [1, 16, 20], **parameters},
        )
        self.feed("stream_resource", doc)
        return datum

    def stop(self) -> None:
        self.feed("stop", self.bundle.compose_stop())


class Stream:
    """A stream composed with event-model."""

    def __init__(self, feed: Feed, bundle: Any) -> None:
        self.feed, self.bundle = feed, bundle
        self.doc = bundle.descriptor_doc

    def event(self, time: float = 2000.0, **data: Any) -> tuple[Any, ...]:
        external = [k for k, v in data.items() if isinstance(v, str)]
        doc = self.bundle.compose_event(
            data=data,
            timestamps=dict.fromkeys(data, time),
            filled=dict.fromkeys(external, False),
            time=time,
            validate=False,
        )
        return self.feed("event", doc)


@pytest.fixture
def keys() -> Any:
    """Data keys: an in-line image, a streamed image, an energy."""

    class Keys:
        image, streamed, energy = IMAGE, STREAMED, ENERGY

    return Keys


@pytest.fixture
def new_feed() -> Any:
    """Make a feed with settings."""
    return lambda **settings: Feed(settings)


@pytest.fixture
def feed(new_feed: Any) -> Feed:
    """A feed with the default settings."""
    return new_feed()


@pytest.fixture
def new_run() -> Any:
    """Start a run on a feed."""
    return Run
