"""Simulated runs must be valid Bluesky runs."""

from __future__ import annotations

from itertools import groupby

import numpy as np
import pytest
from event_model import DocumentNames, schema_validators, unpack_event_page

from operando.streamer.errors import ConfigError
from operando.streamer.lab.simulate import SimSettings, Simulator, simulate_documents

SETTINGS = SimSettings(
    shape=(90, 100), n_particles=2, radius_px=(8.0, 11.0), n_energies=4, wander_px=1.0, scans=2
)


def streams_of(documents):
    names = {d["uid"]: d["name"] for n, d in documents if n == "descriptor"}
    return [names[d["descriptor"]] for n, d in documents if n in ("event", "event_page")]


@pytest.mark.parametrize("order", ["fxi", "flat_first", "flat_last"])
@pytest.mark.parametrize("flavour", ["inline", "event_page"])
def test_documents_are_valid(flavour, order):
    documents = list(simulate_documents(SETTINGS, flavour, order, 2))
    for name, doc in documents:
        schema_validators[DocumentNames[name]].validate(doc)
    assert documents[0][0] == "start"
    assert documents[-1][0] == "stop"
    assert documents[-1][1]["num_events"] == {"dark": 1, "primary": 4, "flat": 4}
    times = [np.ravel(d["time"])[0] for _, d in documents]
    assert times == sorted(times)


@pytest.mark.parametrize(
    ("order", "expected"),
    [
        ("fxi", ["dark", *["primary", "flat"] * 4]),
        ("flat_first", ["dark", *["flat"] * 4, *["primary"] * 4]),
        ("flat_last", ["dark", *["primary"] * 4, *["flat"] * 4]),
    ],
)
def test_flats_come_where_they_are_wanted(order, expected):
    assert streams_of(list(simulate_documents(SETTINGS, order=order, chunk=1))) == expected


def test_events_hold_chunks_and_energies_in_kev():
    documents = list(simulate_documents(SETTINGS, chunk=3))
    events = [d for n, d in documents if n == "event"]
    images = [e["data"]["txm_image"] for e in events]
    assert {(i.shape, i.dtype) for i in images} == {((3, 90, 100), np.dtype(np.uint16))}
    start = documents[0][1]
    energies = [e["data"]["XEng"] for e in events[1::2]]
    assert energies == pytest.approx(start["eng_list"])
    descriptor = next(d for n, d in documents if n == "descriptor")
    assert descriptor["data_keys"]["XEng"]["units"] == "keV"
    assert descriptor["data_keys"]["txm_image"]["shape"] == [3, 90, 100]


def test_documents_are_reproducible():
    for (name, doc), (other, again) in zip(
        simulate_documents(SETTINGS), simulate_documents(SETTINGS), strict=True
    ):
        assert name == other
        np.testing.assert_equal(again, doc)


def test_different_runs_have_different_uids():
    variants = [
        {"settings": SETTINGS},
        {"settings": SETTINGS, "scan": 1},
        {"settings": SETTINGS, "order": "flat_last"},
        {"settings": SETTINGS.model_copy(update={"seed": 1})},
    ]
    uids = [next(iter(simulate_documents(**v)))[1]["uid"] for v in variants]
    assert len(set(uids)) == len(uids)


def test_pages_hold_the_same_events():
    events = [d for n, d in simulate_documents(SETTINGS) if n == "event"]
    pages = [d for n, d in simulate_documents(SETTINGS, "event_page") if n == "event_page"]
    unpacked = [event for page in pages for event in unpack_event_page(page)]
    np.testing.assert_equal(unpacked, events)


def test_scans_of_one_sample_follow_each_other():
    sim = Simulator(SETTINGS)
    runs = [list(simulate_documents(simulator=sim, scan=k)) for k in range(2)]
    assert runs[0][0][1]["sample"] == runs[1][0][1]["sample"]
    assert runs[0][-1][1]["time"] < runs[1][0][1]["time"]
    last = [d for n, d in runs[1] if n == "event"][-2]
    np.testing.assert_array_equal(last["data"]["txm_image"], sim.exposures(7))


def test_truth_is_in_no_document():
    def keys(value):
        if isinstance(value, dict):
            yield from value
            for inner in value.values():
                yield from keys(inner)

    found = {k for _, d in simulate_documents(SETTINGS) for k in keys(d)}
    assert not found & {"truth", "drift", "yx", "strain", "visible", "seed"}
    assert len([k for k, _ in groupby(sorted(found))]) > 20


@pytest.mark.parametrize("wrong", [{"flavour": "carrier pigeon"}, {"order": "never"}])
def test_unknown_flavours_and_orders_are_named(wrong):
    with pytest.raises(ConfigError, match="choose"):
        list(simulate_documents(SETTINGS, **wrong))
