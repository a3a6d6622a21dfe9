"""Resource and Datum documents."""

from __future__ import annotations

import pytest

from operando.streamer.core.assemble import Declined

EXTERNAL = {"external": "FILESTORE:"}


def resource(run, spec="AD_HDF5", **kwargs):
    return {
        "uid": "res",
        "spec": spec,
        "root": "/data",
        "resource_path": "a/b.h5",
        "resource_kwargs": kwargs,
        "run_start": run.uid,
        "path_semantics": "posix",
    }


def datum(number, /, **kwargs):
    return {"datum_id": f"res/{number}", "resource": "res", "datum_kwargs": kwargs}


@pytest.fixture
def scan(feed, new_run, keys):
    run = new_run(feed)
    image = {**keys.image, **EXTERNAL, "shape": [3, 16, 20]}
    stream = run.stream("primary", {"cam": image, "energy": keys.energy})
    return run, stream


@pytest.mark.parametrize(
    ("spec", "kwargs", "datum_kwargs", "expected"),
    [
        ("AD_HDF5", {"frame_per_point": 5}, {"point_number": 2}, (10, 15)),
        ("AD_HDF5", {}, {"point_number": 2}, (6, 9)),
        ("AD_HDF5_SWMR_STREAM", {"frame_per_point": 1}, {"frame": 4}, (4, 5)),
        ("AD_TIFF", {"frame_per_point": 2}, {"point_number": 1}, (2, 4)),
        ("NPY_SEQ", {}, {"index": 7}, (7, 8)),
        ("AD_HDF5", {"frame_per_point": 2}, {"indices": {"start": 1, "stop": 3}}, (2, 6)),
        ("AD_HDF5", {"frame_per_point": 2}, {}, (0, 2)),
    ],
)
def test_which_images_a_datum_means(feed, scan, spec, kwargs, datum_kwargs, expected):
    run, stream = scan
    feed("resource", resource(run, spec, **kwargs))
    feed("datum", datum(0, **datum_kwargs))
    (ref,) = stream.event(cam="res/0", energy=8.3)
    assert ref.array is None
    assert (ref.asset.start, ref.asset.stop) == expected
    assert (ref.asset.kind, ref.asset.uri) == (spec, "/data/a/b.h5")
    assert (ref.asset.run, ref.asset.resource) == (run.uid, "res")
    assert (ref.energy, ref.key.seq_num) == (8300, 1)


def test_datum_pages_and_a_resource_without_run_start(feed, scan):
    run, stream = scan
    doc = resource(run, frame_per_point=1)
    del doc["run_start"]
    feed("resource", doc)
    page = {
        "resource": "res",
        "datum_id": ["res/0", "res/1"],
        "datum_kwargs": {"point_number": [0, 1]},
    }
    feed("datum_page", page)
    stream.event(cam="res/0", energy=8.3)
    stream.event(cam="res/1", energy=8.4)
    assert [(r.asset.start, r.asset.run) for r in feed.refs] == [(0, run.uid), (1, run.uid)]
    run.stop()
    assert not feed.state.resources
    assert not feed.state.datums


def test_unknown_specs_are_rejected_with_a_reason_unless_the_settings_add_them(
    new_feed, new_run, keys
):
    for extra, accepted in (((), 0), (("newton",), 1)):
        feed = new_feed(extra_kinds=extra)
        run = new_run(feed)
        stream = run.stream("primary", {"cam": {**keys.image, **EXTERNAL}, "energy": keys.energy})
        feed("resource", resource(run, "newton"))
        feed("datum", datum(0, gap=0.5))
        stream.event(cam="res/0", energy=8.3)
        run.stop()
        assert len(feed.refs) == accepted
        assert [r.reason for r in feed.rejected] == ["unknown_spec"] * (1 - accepted)
        assert not feed.of(Declined)
    assert "newton" not in str(feed.rejected)


def test_orphans_are_rejected_or_said_once(feed, scan):
    _, stream = scan
    for index in range(3):
        feed("datum", datum(index, point_number=index))
    assert len(feed.notices("orphan")) == 1
    stream.event(cam="res/0", energy=8.3)
    stream.event(cam="never/0", energy=8.3)
    assert [r.reason for r in feed.rejected] == ["missing_resource", "missing_datum"]


@pytest.mark.parametrize("bad", [-1, 1.5, "one", None, 2**70])
def test_a_datum_with_impossible_numbers_is_rejected(feed, scan, bad):
    run, stream = scan
    feed("resource", resource(run))
    feed("datum", datum(0, point_number=bad))
    stream.event(cam="res/0", energy=8.3)
    assert [r.reason for r in feed.rejected] == ["bad_datum"]


def test_an_event_without_the_image_is_rejected(feed, scan):
    _, stream = scan
    feed("event", {"descriptor": stream.doc["uid"], "seq_num": 1, "data": {"energy": 8.3}})
    assert [(r.reason, r.energy) for r in feed.rejected] == [("missing_data", 8300)]
