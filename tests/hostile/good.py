"""A good run, and how results are compared."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

from operando.streamer.io.wire.codec import dumps, loads
from operando.streamer.lab.simulate import SimSettings, simulate_documents

Documents = list[tuple[str, Any]]
UNLIKE = {"latency", "uid", "time", "original_run_uid", "run_start", "descriptor"}


@cache
def _template() -> tuple[tuple[str, Any], ...]:
    settings = SimSettings(
        shape=(72, 72),
        n_particles=1,
        radius_px=(12, 15),
        energies=(8350.0, 8360.0),
        chunk=1,
        jitter_px=0.5,
        drift_px=1.0,
        wander_px=0.5,
    )
    docs = [(name, loads(dumps(doc))) for name, doc in simulate_documents(settings)]
    docs[0] = ("start", {**docs[0][1], "sample": ""})
    return tuple(docs)


def good_run(tag: str) -> Documents:
    """The same run each time, but for its uids."""
    return [(name, _tagged(doc, tag)) for name, doc in _template()]


def _tagged(doc: dict[str, Any], tag: str) -> dict[str, Any]:
    uids = ("uid", "run_start", "descriptor")
    return {key: f"{value}-{tag}" if key in uids else value for key, value in doc.items()}


def comparable(documents: Documents) -> list[Any]:
    """Results without what differs from run to run by its nature."""
    return [
        (name, {k: v for k, v in _flat(doc).items() if k not in UNLIKE}) for name, doc in documents
    ]


def _flat(doc: dict[str, Any]) -> dict[str, Any]:
    if "data_keys" in doc:  # whose source names the run
        keys = {name: {**key, "source": ""} for name, key in doc["data_keys"].items()}
        return {**doc, "data_keys": keys}
    if "data" not in doc:
        return doc
    return {"seq_num": doc["seq_num"], **{k: v for k, v in doc["data"].items() if k != "latency"}}


def assert_same(documents: Documents, reference: Documents) -> None:
    """Bit for bit the same results."""
    assert [name for name, _ in documents] == [name for name, _ in reference]
    for mine, its in zip(comparable(documents), comparable(reference), strict=True):
        np.testing.assert_equal(mine, its)
