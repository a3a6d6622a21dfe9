"""Recorded document streams of other people, as they are."""

from __future__ import annotations

import json
from collections import Counter

import msgpack
import msgpack_numpy
import numpy as np
import pytest

from operando.streamer.core.assemble import Declined, RunStarted, RunStopped

pytestmark = pytest.mark.data

FOLDERS = (
    "als-stxm-energy-stack",
    "stream-assets-templates",
    "suitcase-specfile",
    "tutorials",
    "xicam-inline-images",
)


def documents(path):
    if path.suffix == ".msgpack":
        with path.open("rb") as file:
            yield from msgpack.Unpacker(
                file, object_hook=msgpack_numpy.decode, strict_map_key=False
            )
        return
    text = path.read_text()
    lines = text.splitlines() if path.suffix == ".jsonl" else None
    items = [json.loads(line) for line in lines] if lines is not None else json.loads(text)
    for item in items:
        yield (item["name"], item["doc"]) if isinstance(item, dict) else item


@pytest.fixture
def streams(shared_data):
    base = shared_data / "bluesky-streams"
    return {f: sorted(p for p in (base / f).iterdir() if p.suffix != ".md") for f in FOLDERS}


@pytest.mark.parametrize("folder", FOLDERS)
def test_every_stream_opens_and_closes_one_run_and_leaves_nothing_behind(new_feed, streams, folder):
    assert streams[folder]
    for path in streams[folder]:
        feed = new_feed().all(documents(path))
        assert len(feed.of(RunStarted)) == len(feed.of(RunStopped)) == 1, path.name
        declined = len(feed.of(Declined))
        assert declined == (0 if feed.refs or feed.rejected else 1), path.name
        state = feed.state
        assert [*state.runs, *state.streams, *state.resources, *state.datums] == [], path.name
        assert not feed.notices("malformed"), path.name
        assert not feed.notices("orphan"), path.name


def test_images_of_an_unknown_kind_are_rejected_one_by_one(new_feed, streams):
    feeds = [new_feed().all(documents(p)) for p in streams["tutorials"]]
    kinds = Counter(
        "declined" if f.of(Declined) else Counter(r.reason for r in f.rejected).most_common()[0]
        for f in feeds
    )
    assert kinds == {"declined": 10, ("unknown_spec", 25): 7}


def test_in_line_images_of_xicam(feed, streams):
    feed.all(documents(streams["xicam-inline-images"][0]))
    assert [r.key.seq_num for r in feed.refs] == list(range(1, 11))
    assert all(r.array.shape == (240, 320) and r.array.dtype == np.uint8 for r in feed.refs)
    assert all(b.time > a.time for a, b in zip(feed.refs, feed.refs[1:], strict=False))


@pytest.mark.parametrize(
    ("name", "key", "ranges"),
    [
        ("bluesky_external_assets", "det-key2", [(0, 1), (1, 2), (2, 3)]),
        ("bluesky_external_assets_legacy", "det-key2", [(0, 1), (1, 2), (2, 3)]),
        ("btp_external_assets", "det-key2", [(0, 1), (1, 2), (2, 3)]),
        ("btp_external_assets_legacy", "det-key2", [(0, 1), (1, 2), (2, 3)]),
        (
            "btp_external_assets_single_key_two_files",
            "det-key2",
            [(i, i + 1) for i in (0, 1, 2, 0, 1, 2, 3, 4)],
        ),
    ],
)
def test_external_images(feed, shared_data, name, key, ranges):
    path = shared_data / "bluesky-streams" / "stream-assets-templates" / f"{name}.json"
    feed.all(documents(path))
    assert [(r.asset.start, r.asset.stop) for r in feed.refs] == ranges
    assert {r.key.data_key for r in feed.refs} == {key}
    assert {r.declared for r in feed.refs} == {(13, 17)}
    assert [r.key.seq_num for r in feed.refs] == list(range(1, len(ranges) + 1))
    assert {r.asset.parameters.get("dataset") for r in feed.refs} <= {None, "/entry/data/data_2"}


def test_lines_of_a_scanning_microscope_are_declined_in_one_line(feed, streams):
    feed.all(documents(streams["als-stxm-energy-stack"][0]))
    (declined,) = feed.of(Declined)
    assert "STXMLineFlyer [4]" in declined.reason
