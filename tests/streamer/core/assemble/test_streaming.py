"""StreamResource and StreamDatum documents: step scans, fly scans, and who waits for whom."""

from __future__ import annotations

import pytest


def spread(stream, datum, start, stop):
    return datum(
        indices={"start": start, "stop": stop},
        seq_nums={"start": start + 1, "stop": stop + 1},
        descriptor=stream.doc,
    )


def test_in_a_step_scan_a_frame_waits_for_the_energy_of_its_event(feed, new_run, keys):
    run = new_run(feed)
    stream = run.stream("primary", {"cam": keys.streamed, "energy": keys.energy})
    datum = run.files("cam")
    for i, energy in enumerate((8.3, 8.4, 8.5)):
        assert feed("stream_datum", spread(stream, datum, i, i + 1)) == ()
        (ref,) = stream.event(energy=energy, time=2000.0 + i)
        assert (ref.key.seq_num, ref.energy, ref.time) == (i + 1, energy * 1000, 2000.0 + i)
        assert (ref.asset.start, ref.asset.stop) == (i, i + 1)
        assert ref.asset.uri == "file://localhost/data/scan.h5"
        assert ref.asset.parameters["dataset"] == "/entry/data/data"
    run.stop()
    assert len(feed.refs) == 3
    assert not feed.notices("time")


def test_collections_per_event_become_ranges_of_the_file(feed, new_run, keys):
    run = new_run(feed)
    chunk = {**keys.streamed, "shape": [5, 16, 20]}
    stream = run.stream("primary", {"cam": chunk, "energy": keys.energy})
    datum = run.files("cam")
    feed("stream_datum", spread(stream, datum, 0, 1))
    stream.event(energy=8.3)
    feed("stream_datum", spread(stream, datum, 1, 2))
    stream.event(energy=8.4)
    assert [(r.asset.start, r.asset.stop) for r in feed.refs] == [(0, 5), (5, 10)]
    assert [r.declared for r in feed.refs] == [(16, 20)] * 2


def test_a_step_scan_without_energy_still_waits_for_the_time(feed, new_run, keys):
    run = new_run(feed, energy=8333.0)
    stream = run.stream("primary", {"cam": keys.streamed})
    datum = run.files("cam")
    for i in range(3):
        feed("stream_datum", spread(stream, datum, i, i + 1))
        stream.event(time=3000.0 + 7 * i)
    assert [(r.time, r.energy) for r in feed.refs] == [
        (3000.0, 8333.0),
        (3007.0, 8333.0),
        (3014.0, 8333.0),
    ]


def test_a_fly_scan_without_events_is_seen_at_its_second_datum(feed, new_run, keys):
    run = new_run(feed, eng_list=[8.30 + 0.01 * i for i in range(20)], exposure_time=0.1)
    stream = run.stream("primary", {"cam": keys.streamed})
    datum = run.files("cam")
    assert feed("stream_datum", spread(stream, datum, 0, 5)) == ()
    feed("stream_datum", spread(stream, datum, 5, 11))
    assert [r.key.seq_num for r in feed.refs] == list(range(1, 12))
    feed("stream_datum", spread(stream, datum, 11, 20))
    assert [r.asset.start for r in feed.refs] == list(range(20))
    assert [r.energy for r in feed.refs] == pytest.approx([8300 + 10 * i for i in range(20)])
    steps = [b.time - a.time for a, b in zip(feed.refs, feed.refs[1:], strict=False)]
    assert steps == pytest.approx([0.1] * 19, abs=1e-6)
    assert len(feed.notices("time")) == 1


def test_a_single_datum_is_released_by_the_stop(feed, new_run, keys):
    run = new_run(feed)
    stream = run.stream("primary", {"cam": keys.streamed})
    feed("stream_datum", spread(stream, run.files("cam"), 0, 4))
    assert not feed.refs
    run.stop()
    assert len(feed.refs) == 4
    assert len(feed.notices("energy")) == 1


def test_all_datums_before_all_events_keep_their_energies(feed, new_run, keys):
    run = new_run(feed)
    stream = run.stream("primary", {"cam": keys.streamed, "energy": keys.energy})
    datum = run.files("cam")
    feed("stream_datum", spread(stream, datum, 0, 2))
    feed("stream_datum", spread(stream, datum, 2, 4))
    for i in range(4):
        stream.event(energy=8.0 + i)
    assert [r.energy for r in feed.refs] == [8000, 9000, 10000, 11000]


def test_events_before_their_datum_keep_their_energies(feed, new_run, keys):
    run = new_run(feed)
    stream = run.stream("primary", {"cam": keys.streamed, "energy": keys.energy})
    for i in range(3):
        assert stream.event(energy=8.0 + i) == ()
    feed("stream_datum", spread(stream, run.files("cam"), 0, 3))
    assert [r.energy for r in feed.refs] == [8000, 9000, 10000]


def test_a_lost_event_costs_the_energy_not_the_frame(feed, new_run, keys):
    run = new_run(feed)
    stream = run.stream("primary", {"cam": keys.streamed, "energy": keys.energy})
    datum = run.files("cam")
    for i in range(3):
        feed("stream_datum", spread(stream, datum, i, i + 1))
        if i == 1:
            stream.bundle.compose_event(  # composed, never sent
                data={"energy": 1.0}, timestamps={"energy": 0}, validate=False
            )
        else:
            stream.event(energy=8.0 + i)
    assert [(r.key.seq_num, r.energy) for r in feed.refs] == [(1, 8000), (2, None), (3, 10000)]
    assert len(feed.notices("lost_event")) == 1


def test_streamed_scalars_beside_the_image_are_left_alone(feed, new_run, keys):
    run = new_run(feed)
    sums = {**keys.streamed, "shape": [1], "dtype": "number"}
    stream = run.stream("primary", {"cam": keys.streamed, "cam-sum": sums})
    image, total = run.files("cam"), run.files("cam-sum")
    for i in range(2):
        feed("stream_datum", spread(stream, total, i, i + 1))
        feed("stream_datum", spread(stream, image, i, i + 1))
        stream.event()
    assert [r.key.data_key for r in feed.refs] == ["cam", "cam"]


def test_a_second_file_that_counts_from_one_again_gets_addresses_of_its_own(feed, new_run, keys):
    run = new_run(feed)
    stream = run.stream("primary", {"cam": keys.streamed})
    feed("stream_datum", spread(stream, run.files("cam"), 0, 3))
    feed("stream_datum", spread(stream, run.files("cam"), 0, 5))
    run.stop()
    assert [r.key.seq_num for r in feed.refs] == list(range(1, 9))
    assert [r.asset.start for r in feed.refs] == [0, 1, 2, 0, 1, 2, 3, 4]


def test_the_multiplier_of_early_documents(feed, new_run, keys):
    run = new_run(feed)
    stream = run.stream("primary", {"cam": {**keys.streamed, "shape": [16, 20]}})
    feed("stream_datum", spread(stream, run.files("cam", multiplier=4), 2, 3))
    run.stop()
    assert [(r.asset.start, r.asset.stop) for r in feed.refs] == [(8, 12)]


def test_early_field_names_and_a_missing_run_start(feed, new_run, keys):
    run = new_run(feed, energy=8333.0)
    stream = run.stream("primary", {"cam": keys.streamed})
    feed(
        "stream_resource",
        {
            "uid": "res",
            "data_key": "cam",
            "spec": "AD_HDF5_SWMR_STREAM",
            "root": "/data",
            "resource_path": "/scan.h5",
            "resource_kwargs": {"path": "/entry/data", "swmr": True},
        },
    )
    feed(
        "stream_datum",
        {
            "uid": "res/0",
            "stream_resource": "res",
            "descriptor": stream.doc["uid"],
            "indices": {"start": 0, "stop": 1},
            "seq_nums": {"start": 1, "stop": 2},
        },
    )
    (ref,) = stream.event()
    assert (ref.asset.uri, ref.asset.kind) == ("/data/scan.h5", "AD_HDF5_SWMR_STREAM")
    assert ref.asset.parameters["path"] == "/entry/data"
    assert ref.asset.run == run.uid


def test_unknown_formats_and_impossible_ranges_are_rejected_once_per_datum(feed, new_run, keys):
    run = new_run(feed)
    stream = run.stream("primary", {"cam": keys.streamed})
    feed("stream_datum", spread(stream, run.files("cam", "video/mp4"), 0, 10**6))
    feed("stream_datum", spread(stream, run.files("cam"), 0, 10**12))
    assert [r.reason for r in feed.rejected] == ["unknown_spec", "bad_datum"]
    assert not feed.refs


def test_orphans_are_said_once(feed, new_run, keys):
    run = new_run(feed)
    stream = run.stream("primary", {"cam": keys.streamed})
    lost = {
        "uid": "x/0",
        "stream_resource": "x",
        "descriptor": stream.doc["uid"],
        "indices": {"start": 0, "stop": 1},
        "seq_nums": {"start": 1, "stop": 2},
    }
    for _ in range(3):
        feed("stream_datum", lost)
        feed("stream_datum", {**lost, "descriptor": "nobody"})
    assert len(feed.notices("orphan")) == 2


def test_long_fly_scans_do_not_slow_down(feed, new_run, keys):
    run = new_run(feed, energy=8333.0)
    stream = run.stream("primary", {"cam": keys.streamed})
    datum = run.files("cam")
    feed("stream_datum", spread(stream, datum, 0, 1))
    feed("stream_datum", spread(stream, datum, 1, 20_000))
    assert len(feed.refs) == 20_000
    assert feed.state.runs[run.uid].announced == 20_000
