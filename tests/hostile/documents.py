"""Documents that decode and make no sense; each case is a sequence of ``(name, doc)``."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

Documents = list[tuple[str, Any]]

NAN, INF = float("nan"), float("inf")
SIDE = 40
IMAGE = np.full((SIDE, SIDE), 1000, np.uint16)
TIMES = {
    "nan": NAN, "inf": INF, "minus inf": -INF, "1e300": 1e300, "minus 1e300": -1e300,
    "negative": -5.0, "zero": 0, "a text": "yesterday", "nothing": None, "a list": [1.0, 2.0],
    "a map": {"s": 1}, "true": True, "2**63": 2**63, "smallest": 5e-324,
}  # fmt: skip
ODD = {
    "nothing": None, "true": True, "minus one": -1, "half": 0.5, "nan": NAN, "inf": INF,
    "1e300": 1e300, "2**64-1": 2**64 - 1, "empty text": "", "text": "nobody", "NUL": "a\0b",
    "10 kB of text": "x" * 10_000, "bytes": b"bytes", "empty list": [], "nested list": [[[]]],
    "empty map": {}, "number as key": {1: 2}, "array": np.zeros((9, 9)), "scalar": np.float32(1),
    "array of texts": np.array(["a", "b"]), "empty array": np.zeros((0, 3)),
}  # fmt: skip


def deep(levels: int) -> Any:
    """Maps within lists within maps."""
    value: Any = 1
    for level in range(levels):
        value = {"x": value} if level % 2 else [value]
    return value


class Run:
    """Documents of a run with one stream of images and an energy.

    Parameters
    ----------
    uid : of the run; that of its descriptor is made of it.
    """

    def __init__(self, uid: str) -> None:
        self.uid = uid
        self.descriptor_uid = f"{uid}-d"

    def start(self, **changes: Any) -> tuple[str, Any]:
        """Start document."""
        return "start", _changed({"uid": self.uid, "time": 1e9, "scan_id": 1}, changes)

    def descriptor(self, **changes: Any) -> tuple[str, Any]:
        """Descriptor of the stream ``primary``."""
        doc = {
            "uid": self.descriptor_uid,
            "run_start": self.uid,
            "time": 1e9,
            "name": "primary",
            "data_keys": {
                "img": {"source": "s", "dtype": "array", "shape": [SIDE, SIDE]},
                "energy": {"source": "s", "dtype": "number", "shape": [], "units": "eV"},
            },
            "configuration": {},
        }
        return "descriptor", _changed(doc, changes)

    def event(self, number: Any = 1, image: Any = IMAGE, energy: Any = 8350.0, **changes: Any):
        """Event with an image."""
        doc = {
            "uid": f"{self.uid}-e{number!r:.20}",
            "descriptor": self.descriptor_uid,
            "seq_num": number,
            "time": 1e9 + 1,
            "data": {"img": image, "energy": energy},
            "timestamps": {"img": 1e9, "energy": 1e9},
            "filled": {},
        }
        return "event", _changed(doc, changes)

    def stop(self, **changes: Any) -> tuple[str, Any]:
        """Stop document."""
        doc = {"uid": f"{self.uid}-s", "run_start": self.uid, "time": 1e9 + 9}
        doc |= {"exit_status": "success", "num_events": {"primary": 1}}
        return "stop", _changed(doc, changes)

    def whole(self, *events: tuple[str, Any]) -> Documents:
        """Return a run with these events."""
        return [self.start(), self.descriptor(), *events, self.stop()]


def _changed(doc: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    doc = {**doc, **changes}
    return {key: value for key, value in doc.items() if value is not LEFT_OUT}


LEFT_OUT = object()


def _run(name: str) -> Run:
    return Run("hostile-" + name.replace(" ", "-"))


def _times() -> Iterator[tuple[str, Documents]]:
    for text, time in TIMES.items():
        run = _run(f"time {text}")
        yield (
            f"every time is {text}",
            [
                run.start(time=time),
                run.descriptor(time=time),
                run.event(1, time=time, timestamps={"img": time, "energy": time}),
                run.event(2, time=time, timestamps=time),
                run.stop(time=time),
            ],
        )
    run = _run("times")
    events = [run.event(i + 1, time=time) for i, time in enumerate(TIMES.values())]
    yield "times that jump about", run.whole(*events)


def _wrong_types() -> Iterator[tuple[str, Documents]]:
    for text, odd in ODD.items():
        run = _run(f"all {text}")
        for kind in ("start", "descriptor", "event", "stop"):
            template = {
                "start": run.start(),
                "descriptor": run.descriptor(),
                "event": run.event(),
                "stop": run.stop(),
            }
            good = template[kind][1]
            docs = [(kind, {**good, key: odd}) for key in good]
            first = {"start": [], "descriptor": ["start"], "event": ["start", "descriptor"]}
            before = [template[k] for k in first.get(kind, ["start", "descriptor", "event"])]
            yield f"{text} for every entry of a {kind}", [*before, *docs, run.stop()]


def _carried() -> Iterator[tuple[str, Documents]]:
    values = {**ODD, "a deep tree": deep(28), "a huge text": "s" * 100_000}
    for text, odd in values.items():
        run = _run(f"metadata {text}")
        keys = ("sample", "sample_name", "proposal", "data_session", "cycle", "scan_id", "eng_list")
        start = run.start(**dict.fromkeys(keys, odd), tiled_access_tags=odd, motors=odd, hints=odd)
        yield f"metadata that are {text}", [start, run.descriptor(), run.event(), run.stop()]


def _images() -> Iterator[tuple[str, Documents]]:
    images = {
        **ODD,
        "one axis": np.zeros(9), "five axes": np.zeros((1, 1, 1, 9, 9)), "one pixel": [[1]],
        "a line": np.zeros((1, 5000), "u2"), "complex": np.zeros((SIDE, SIDE), complex),
        "ragged": [[1, 2], [3]], "lists of texts": [["a"] * SIDE] * SIDE,
        "all nan": np.full((SIDE, SIDE), NAN), "all inf": np.full((SIDE, SIDE), INF),
        "all minus inf": np.full((SIDE, SIDE), -INF), "1e38": np.full((SIDE, SIDE), 3e38, "f4"),
        "1e308": np.full((SIDE, SIDE), 1e308), "negative": np.full((SIDE, SIDE), -1e9),
        "zeros": np.zeros((SIDE, SIDE), "u2"), "bool": np.ones((SIDE, SIDE), bool),
        "half floats": np.full((SIDE, SIDE), 60000, "f2"),
        "2**64-1": np.full((SIDE, SIDE), 2**64 - 1, "u8"),
        "another shape": np.full((SIDE + 3, SIDE), 1000, "u2"), "a path": "/etc/passwd",
        "no images of a stack": np.zeros((0, SIDE, SIDE)),
        "a long stack": np.ones((300, 9, 9), "u1"),
    }  # fmt: skip
    for text, image in images.items():
        run = _run(f"image {text}")
        yield f"image: {text}", run.whole(run.event(1), run.event(2, image), run.event(3))
    for text, energy in {**ODD, "negative": -8350.0, "text": "8350", "zero": 0}.items():
        run = _run(f"energy {text}")
        yield f"energy: {text}", run.whole(run.event(1), run.event(2, energy=energy))


def _numbers() -> Iterator[tuple[str, Documents]]:
    for text, number in {
        **ODD, "zero": 0, "2**31": 2**31, "2**40": 2**40, "2**63": 2**63, "minus 2**63": -(2**63),
    }.items():  # fmt: skip
        run = _run(f"number {text}")
        yield f"event number: {text}", run.whole(run.event(1), run.event(number), run.event(2))
        run = _run(f"events {text}")
        stop = run.stop(num_events={"primary": number, "none": number})
        yield f"stop that tells of events: {text}", [*run.whole(run.event(1))[:-1], stop]
    run = _run("pages")
    page = {
        "descriptor": run.descriptor_uid, "uid": ["a"], "time": [1.0], "seq_num": [1, 2, NAN, "x"],
        "data": {"img": [IMAGE], "energy": "8350"}, "timestamps": {}, "filled": {},
    }  # fmt: skip
    pages = [{**page, key: odd} for key in page for odd in ODD.values()]
    yield (
        "pages of odd columns",
        [
            run.start(),
            run.descriptor(),
            ("event_page", page),
            *(("event_page", doc) for doc in pages),
            run.stop(),
        ],
    )


def _order() -> Iterator[tuple[str, Documents]]:
    run = _run("backwards")
    yield "a run backwards", run.whole(run.event(1), run.event(2))[::-1]
    run = _run("orphans")
    yield "events without a descriptor", [run.event(i + 1) for i in range(3)]
    run = _run("no start")
    yield "a run without a start", run.whole(run.event(1))[1:]
    run = _run("no stop")
    yield "a run without a stop", run.whole(run.event(1))[:-1]
    run = _run("twice")
    yield "every document twice", [d for doc in run.whole(run.event(1)) for d in (doc, doc)]
    run = _run("again")
    yield "a run twice", run.whole(run.event(1)) * 2
    run = _run("late")
    yield "events after the stop", [*run.whole(run.event(1)), run.event(2), run.descriptor()]
    run, other = _run("one"), _run("other")
    other.descriptor_uid = run.descriptor_uid
    yield "a descriptor of two runs", [
        run.start(), other.start(), run.descriptor(), other.descriptor(), run.event(1),
        other.event(2), other.stop(), run.event(3), run.stop(),
    ]  # fmt: skip
    yield "60 starts", [_run(f"start {i}").start() for i in range(60)]
    yield "60 stops", [_run(f"stop {i}").stop() for i in range(60)]
    yield "60 descriptors of nothing", [_run(f"desc {i}").descriptor() for i in range(60)]
    run = _run("mismatch")
    odd = run.event(2, data={"other": IMAGE, "img2": IMAGE})
    yield "events that hold other keys", run.whole(run.event(1), odd, run.event(3, data=LEFT_OUT))


def _declared() -> Iterator[tuple[str, Documents]]:
    keys = {
        "no shape": {"img": {"dtype": "array"}},
        "a shape of texts": {"img": {"dtype": "array", "shape": ["a", "b"]}},
        "a negative shape": {"img": {"dtype": "array", "shape": [-1, -1]}},
        "an enormous shape": {"img": {"dtype": "array", "shape": [2**62, 2**62, 2**62]}},
        "30 axes": {"img": {"dtype": "array", "shape": [9] * 30}},
        "nothing of a key": {"img": None, "energy": None},
        "a thousand keys": {f"k{i}": {"dtype": "array", "shape": [9, 9]} for i in range(1000)},
        "keys that are numbers": {1: {"dtype": "array", "shape": [9, 9]}},
        "a deep key": {"img": {"dtype": "array", "shape": deep(25)}},
        "an external image": {"img": {"dtype": "array", "shape": [9, 9], "external": "FILESTORE:"}},
        "a streamed image": {"img": {"dtype": "array", "shape": [9, 9], "external": "STREAM:"}},
    }
    for text, declared in keys.items():
        run = _run(f"declared {text}")
        docs = [run.start(), run.descriptor(data_keys=declared), run.event(1), run.event(2)]
        yield f"descriptor with {text}", [*docs, run.stop()]


def _assets() -> Iterator[tuple[str, Documents]]:
    for text, odd in ODD.items():
        run = _run(f"assets {text}")
        resource = {
            "uid": f"{run.uid}-r", "run_start": run.uid, "spec": "AD_HDF5", "root": "/none",
            "resource_path": "a.h5", "resource_kwargs": {"frame_per_point": 1},
        }  # fmt: skip
        datum = {"datum_id": f"{run.uid}-r/0", "resource": f"{run.uid}-r", "datum_kwargs": {}}
        streamed = {
            "uid": f"{run.uid}-s", "run_start": run.uid, "mimetype": "application/x-hdf5",
            "uri": "file://localhost/none/a.h5", "parameters": {"dataset": "d"}, "data_key": "img",
        }  # fmt: skip
        indices = {"start": 0, "stop": 1}
        stream_datum = {
            "uid": f"{run.uid}-s/0", "descriptor": run.descriptor_uid,
            "stream_resource": f"{run.uid}-s", "indices": indices,
            "seq_nums": {"start": 1, "stop": 2},
        }  # fmt: skip
        docs: Documents = [run.start(), run.descriptor()]
        for name, good in (
            ("resource", resource), ("datum", datum), ("datum_page", datum),
            ("stream_resource", streamed), ("stream_datum", stream_datum),
        ):  # fmt: skip
            docs += [(name, {**good, key: odd}) for key in good]
            docs.append((name, good))
        docs += [("resource", {**resource, "resource_kwargs": {"frame_per_point": odd}})]
        docs += [("datum", {**datum, "datum_kwargs": {"point_number": odd}})]
        docs += [run.event(1, f"{run.uid}-r/0"), run.event(2, "nobody/0")]
        for start, stop in ((odd, 2), (0, odd), (5, 2), (0, 10**15), (2**62, 2**62 + 1)):
            span = {"start": start, "stop": stop}
            docs.append(("stream_datum", {**stream_datum, "indices": span}))
            docs.append(("stream_datum", {**stream_datum, "seq_nums": span}))
        yield f"files that are announced with {text}", [*docs, run.stop()]


def _names() -> Iterator[tuple[str, Documents]]:
    docs = [(name, {"uid": "x"}) for name in ("bulk_events", "bulk_datum")]
    yield "names of documents that nobody sends any more", docs


CASES: dict[str, Documents] = {
    name: docs
    for group in (
        _times, _wrong_types, _carried, _images, _numbers, _order, _declared, _assets, _names,
    )
    for name, docs in group()
}  # fmt: skip

UNKNOWN: Documents = [
    ("foo", {}), ("", {}), ("start\0", {}), ("__class__", {}), ("update", {}), (None, {}), (7, {}),
    ("start", None), ("event", [1]), ("event", b"x"), ("stop", "x"), ("descriptor", 1),
    ("event", object()), ("event", {"seq_num": 10**40}), ("event", {object(): 1}),
]  # fmt: skip
"""What cannot come over the wire, but from a caller in this process."""
