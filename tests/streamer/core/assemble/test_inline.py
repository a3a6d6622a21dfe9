"""Images inside events."""

from __future__ import annotations

import numpy as np
import pytest
from event_model import compose_run, pack_event_page

from operando.streamer.core.assemble import Declined, RunStarted, RunStopped, end_run
from operando.streamer.core.frames import Role


def test_an_event_becomes_a_frame_reference_with_energy_exposure_and_role(feed, new_run, keys):
    run = new_run(feed, exposure_time=0.25)
    stream = run.stream("primary", {"cam": keys.image, "XEng": keys.energy})
    image = np.arange(320, dtype=np.uint16).reshape(16, 20)
    (ref,) = stream.event(cam=image, XEng=8.333, time=2001.5)
    assert ref.array is image
    assert (ref.role, ref.energy, ref.exposure, ref.time) == (Role.SAMPLE, 8333.0, 0.25, 2001.5)
    assert (ref.key.run, ref.key.stream, ref.key.data_key, ref.key.seq_num) == (
        run.uid,
        "primary",
        "cam",
        1,
    )
    run.stop()
    assert [type(o) for o in feed.out] == [RunStarted, type(ref), RunStopped]
    assert not feed.state.runs
    assert not feed.state.streams


def test_the_order_of_fxi_streams_and_chunks(feed, new_run, keys):
    run = new_run(feed, eng_list=[8.3, 8.4], exposure_time=0.05)
    chunk = {**keys.image, "shape": [3, 16, 20]}
    dark = run.stream("dark", {"cam": chunk})
    primary = run.stream("primary", {"cam": chunk, "XEng": {**keys.energy, "units": ""}})
    flat = run.stream("flat", {"cam": chunk, "XEng": {**keys.energy, "units": ""}})
    pixels = np.ones((3, 16, 20), np.uint16)
    dark.event(cam=pixels)
    for energy in (8.3, 8.4):
        primary.event(cam=pixels, XEng=energy)
        flat.event(cam=pixels, XEng=energy)
    roles = [r.role for r in feed.refs]
    assert roles == [Role.DARK, Role.SAMPLE, Role.FLAT, Role.SAMPLE, Role.FLAT]
    assert [r.energy for r in feed.refs] == [None, 8300, 8300, 8400, 8400]
    assert all(r.declared == (16, 20) and r.array.shape == (3, 16, 20) for r in feed.refs)
    assert len(feed.notices("energy_unit")) == 1


def test_event_pages_lists_and_nested_lists_give_what_events_give(new_feed, new_run, keys):
    images = [np.full((16, 20), i, np.uint8) for i in range(3)]
    spellings = {
        "arrays": lambda: images,
        "nested lists": lambda: [i.tolist() for i in images],
        "rows": lambda: [list(i) for i in images],
        "one stack": lambda: np.stack(images),
    }
    for name, spell in spellings.items():
        feed = new_feed()
        run = new_run(feed)
        stream = run.stream("primary", {"cam": keys.image, "energy": keys.energy})
        events = [
            stream.bundle.compose_event(
                data={"cam": 0, "energy": 8 + i},
                timestamps={"cam": 0, "energy": 0},
                time=5.0 + i,
                validate=False,
            )
            for i in range(3)
        ]
        page = pack_event_page(*events)
        page["data"]["cam"] = spell()
        out = feed("event_page", page)
        assert [r.key.seq_num for r in out] == [1, 2, 3], name
        assert [r.energy for r in out] == [8000, 9000, 10000]
        assert [r.time for r in out] == [5.0, 6.0, 7.0]
        for ref, image in zip(out, images, strict=True):
            np.testing.assert_array_equal(ref.array, image)


def test_a_wrong_declared_shape_is_said_once_and_the_pixels_win(feed, new_run, keys):
    run = new_run(feed)
    stream = run.stream("primary", {"cam": keys.image, "energy": keys.energy})
    for _ in range(3):
        stream.event(cam=np.zeros((32, 64), np.uint16), energy=8.3)
    assert [r.array.shape for r in feed.refs] == [(32, 64)] * 3
    assert len(feed.notices("shape")) == 1
    assert "(16, 20)" in feed.notices("shape")[0]


def test_an_image_that_the_descriptor_denies_is_found_in_the_event(feed, new_run, keys):
    run = new_run(feed)
    stream = run.stream("primary", {"cam": {**keys.image, "shape": []}, "energy": keys.energy})
    stream.event(cam=np.zeros((16, 20)), energy=8.3)
    assert len(feed.refs) == 1
    assert len(feed.notices("shape")) == 1


@pytest.mark.parametrize(
    ("value", "word"),
    [
        (np.zeros((16, 20), object), "dtype object"),
        (np.zeros((16, 20), complex), "dtype complex"),
        (np.zeros(16), "(16,)"),
        (np.zeros((2, 3, 4, 5)), "(2, 3, 4, 5)"),
        ([[1, 2], [3]], "rectangular"),
        (7, "int"),
        (None, "NoneType"),
        (np.zeros((0, 20)), "(0, 20)"),
    ],
)
def test_bad_pixels_are_rejected_and_the_run_goes_on(feed, new_run, keys, value, word):
    run = new_run(feed)
    stream = run.stream("primary", {"cam": keys.image, "energy": keys.energy})
    stream.event(cam=value, energy=8.3)
    stream.event(cam=np.zeros((16, 20)), energy=8.3)
    (bad,) = feed.rejected
    assert bad.reason == "bad_frame"
    assert word in bad.message
    assert bad.energy == 8300
    assert [r.key.seq_num for r in feed.refs] == [2]


def test_interleaved_runs_are_kept_apart(feed, new_run, keys):
    first, second = new_run(feed, energy=8000.0), new_run(feed, energy=9000.0)
    a = first.stream("primary", {"cam": keys.image})
    b = second.stream("primary", {"cam": keys.image})
    image = np.zeros((16, 20))
    a.event(cam=image)
    b.event(cam=image)
    first.stop()
    b.event(cam=image)
    a.event(cam=image)  # of a run that has ended
    second.stop()
    assert [(r.key.run, r.energy) for r in feed.refs] == [
        (first.uid, 8000),
        (second.uid, 9000),
        (second.uid, 9000),
    ]
    assert len(feed.notices("orphan")) == 1
    assert [s.run for s in feed.of(RunStopped)] == [first.uid, second.uid]


def test_a_run_without_images_is_declined_once_and_says_why(feed, new_run, keys):
    run = new_run(feed)
    baseline = run.stream("baseline", {"energy": keys.energy})
    primary = run.stream("primary", {"line": {**keys.image, "shape": [4]}})
    baseline.event(energy=8.0)
    primary.event(line=np.zeros(4))
    assert not feed.of(Declined)
    run.stop()
    (declined,) = feed.of(Declined)
    assert "line [4]" in declined.reason
    assert "\n" not in declined.reason
    assert isinstance(feed.out[-1], RunStopped)


def test_images_in_a_stream_without_a_role_are_named_when_declined(feed, new_run, keys):
    run = new_run(feed)
    run.stream("camera2", {"cam": keys.image}).event(cam=np.zeros((16, 20)))
    run.stop()
    assert "assemble.streams" in feed.of(Declined)[0].reason


def test_a_run_whose_stop_never_comes_is_ended_by_the_service(feed, new_run, keys):
    run = new_run(feed)
    run.stream("primary", {"cam": keys.image}).event(cam=np.zeros((16, 20)))
    new_run(feed)
    assert run.uid in feed.state.runs
    state, out = end_run(feed.state, run.uid)
    assert out == (RunStopped(run=run.uid, stop=None, notices={"energy": 1}),)
    assert run.uid not in state.runs
    assert end_run(state, run.uid) == (state, ())


def test_a_late_joiner_goes_on_without_the_start(feed, keys):
    bundle = compose_run()
    stream = bundle.compose_descriptor(
        name="primary", data_keys={"cam": keys.image, "energy": keys.energy}
    )
    event = stream.compose_event(
        data={"cam": np.zeros((16, 20)), "energy": 8.0},
        timestamps={"cam": 0, "energy": 0},
        validate=False,
    )
    out = feed("descriptor", stream.descriptor_doc)
    assert isinstance(out[0], RunStarted)
    assert "start document was lost" in feed.notices("orphan")[0]
    feed("event", event)
    feed("stop", bundle.compose_stop())
    assert len(feed.refs) == 1
    assert len(feed.of(RunStopped)) == 1


def test_documents_that_come_twice_count_once(feed, keys):
    bundle = compose_run()
    stream = bundle.compose_descriptor(name="primary", data_keys={"cam": keys.image})
    event = stream.compose_event(
        data={"cam": np.zeros((16, 20))}, timestamps={"cam": 0}, validate=False
    )
    for name, doc in (
        ("start", bundle.start_doc),
        ("descriptor", stream.descriptor_doc),
        ("event", event),
    ):
        feed(name, doc)
        feed(name, doc)
    assert len(feed.refs) == 1
    assert len(feed.of(RunStarted)) == 1
    assert len(feed.notices("duplicate")) == 1


def test_roles_from_a_key_of_the_events(new_feed, new_run, keys):
    feed = new_feed(role_key="image_key")
    run = new_run(feed)
    code = {"source": "SIM:k", "dtype": "integer", "shape": []}
    stream = run.stream("primary", {"cam": keys.image, "image_key": code, "energy": keys.energy})
    for value in (2, 1, 0, np.int64(1), 3):
        stream.event(cam=np.zeros((16, 20)), image_key=value, energy=8.3)
    assert [r.role for r in feed.refs] == [
        Role.DARK,
        Role.FLAT,
        Role.SAMPLE,
        Role.FLAT,
        Role.SAMPLE,
    ]
    assert len(feed.notices("role")) == 1


def test_state_is_not_changed_by_an_update(feed, new_run, keys):
    run = new_run(feed)
    stream = run.stream("primary", {"cam": keys.image, "energy": keys.energy})
    before = feed.state
    copy = (dict(before.runs), dict(before.streams))
    stream.event(cam=np.zeros((16, 20)), energy=8.3)
    assert (dict(before.runs), dict(before.streams)) == copy
    assert feed.state is not before
