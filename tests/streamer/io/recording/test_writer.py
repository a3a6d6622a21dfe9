"""Recordings survive crashes, keep runs apart and are readable by stock tools."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import msgpack
import msgpack_numpy
import numpy as np
import pytest
from bluesky import plans as bp
from ophyd.sim import SynSignal

from operando.streamer.errors import RecordingError
from operando.streamer.io.recording.reader import read_documents
from operando.streamer.io.recording.writer import RecordingWriter, RunRoutes
from operando.streamer.io.wire.codec import BadMessageError


def run(uid: str, count: int = 3) -> list[tuple[str, dict]]:
    """Return the documents of a run that use every kind of reference."""
    d, r, s = f"{uid}-d", f"{uid}-r", f"{uid}-s"
    page = {"descriptor": d, "time": [1.0], "uid": ["p"], "seq_num": [9], "data": {}}
    return [
        ("start", {"uid": uid, "time": 1.0}),
        ("descriptor", {"uid": d, "run_start": uid, "time": 1.0}),
        ("resource", {"uid": r, "run_start": uid}),
        ("stream_resource", {"uid": s, "run_start": uid}),
        ("datum", {"datum_id": f"{r}/0", "resource": r}),
        ("datum_page", {"datum_id": [f"{r}/1"], "resource": r}),
        ("stream_datum", {"uid": f"{s}/0", "stream_resource": s, "descriptor": d}),
        *(
            ("event", {"uid": f"{uid}-{i}", "descriptor": d, "data": {"img": np.full((4, 5), i)}})
            for i in range(count)
        ),
        ("event_page", page),
        ("bulk_events", {"primary": [{"descriptor": d, "uid": "b"}]}),
        ("bulk_datum", {"resource": r, "datum_ids": []}),
        ("stop", {"uid": f"{uid}-stop", "run_start": uid}),
    ]


def read(path) -> list[tuple[str, dict]]:
    problems: list[str] = []
    named = [(item.name, item.doc) for item in read_documents(path, report=problems.append)]
    assert problems == []
    return named


def test_round_trip(tmp_path):
    documents = run("run-1")
    with RecordingWriter(tmp_path / "new" / "folder", clock=lambda: 1e9) as writer:
        for named in documents:
            writer(*named)
    (path,) = writer.paths.values()
    assert path.name == "20010909T014640Z-run-1.msgpack"
    np.testing.assert_equal(read(path), documents)


def test_interleaved_runs_go_to_their_own_files(tmp_path):
    one, two = run("aaaaaaaa-1"), run("bbbbbbbb-2")
    with RecordingWriter(tmp_path) as writer:
        for first, second in zip(one, two, strict=True):
            writer(*first)
            writer(*second)
    assert set(writer.paths) == {"aaaaaaaa-1", "bbbbbbbb-2"}
    np.testing.assert_equal(read(writer.paths["aaaaaaaa-1"]), one)
    np.testing.assert_equal(read(writer.paths["bbbbbbbb-2"]), two)


def test_a_late_join_is_filed_by_the_descriptor_and_strangers_are_kept(tmp_path):
    documents = run("run-1")
    with RecordingWriter(tmp_path) as writer:
        writer("event", {"uid": "lost", "descriptor": "unknown"})
        for named in documents[1:]:
            writer(*named)
        writer("event", {"uid": "after the stop", "descriptor": "run-1-d"})
    np.testing.assert_equal(read(writer.paths["run-1"]), documents[1:])
    assert [doc["uid"] for _, doc in read(writer.paths["orphans"])] == ["lost", "after the stop"]


def test_a_resource_without_run_belongs_to_the_only_open_run():
    routes = RunRoutes()
    assert routes.run_of("resource", {"uid": "r0"}) is None
    routes.run_of("start", {"uid": "one"})
    assert routes.run_of("stream_resource", {"uid": "r1"}) == "one"
    assert routes.run_of("stream_datum", {"stream_resource": "r1"}) == "one"
    routes.run_of("start", {"uid": "two"})
    assert routes.run_of("resource", {"uid": "r2"}) is None
    routes.forget("one")
    assert routes.run_of("resource", {"uid": "r3"}) == "two"
    assert routes.run_of("stream_datum", {"stream_resource": "r1"}) is None


def test_arrival_times_are_kept(tmp_path):
    with RecordingWriter(tmp_path / "a.msgpack", clock=lambda: 7.5) as writer:
        writer.write("start", {"uid": "u"}, received_at=5.25)
        writer("stop", {"uid": "s", "run_start": "u"})
    assert [item.arrival for item in read_documents(tmp_path / "a.msgpack")] == [5.25, 7.5]


def test_the_loop_of_suitcase_msgpack_reads_it(tmp_path):
    documents = run("run-1")
    with RecordingWriter(tmp_path / "a.msgpack") as writer:
        for named in documents:
            writer(*named)
    with (tmp_path / "a.msgpack").open("rb") as file:
        stock = msgpack.Unpacker(
            file, object_hook=msgpack_numpy.decode, raw=False, max_buffer_size=0
        )
        got = [(name, doc) for name, doc in stock]
    np.testing.assert_equal(got, documents)


def test_a_named_file_takes_the_first_run_and_further_ones_lie_beside_it(tmp_path):
    with RecordingWriter(tmp_path / "mine.msgpack") as writer:
        for uid in ("aaaaaaaa-1", "bbbbbbbb-2"):
            for named in run(uid):
                writer(*named)
    assert sorted(p.name for p in tmp_path.glob("*.msgpack")) == [
        "mine-bbbbbbbb.msgpack",
        "mine.msgpack",
    ]


def test_nothing_is_overwritten_unless_asked(tmp_path):
    path = tmp_path / "a.msgpack"
    path.write_bytes(b"precious")
    with pytest.raises(RecordingError, match="exists"):
        RecordingWriter(path)
    with RecordingWriter(path, overwrite=True) as writer:
        writer("start", {"uid": "u"})
    assert read(path) == [("start", {"uid": "u"})]
    for _ in range(2):
        with RecordingWriter(tmp_path / "folder", clock=lambda: 0.0) as writer:
            writer("start", {"uid": "u"})
    assert len(list((tmp_path / "folder").glob("*.msgpack"))) == 2


def test_a_uid_cannot_choose_the_folder(tmp_path):
    with RecordingWriter(tmp_path / "in") as writer:
        writer("start", {"uid": "../../x"})
    assert [p.parent for p in writer.paths.values()] == [tmp_path / "in"]


def test_what_cannot_be_written_leaves_the_file_whole(tmp_path):
    with RecordingWriter(tmp_path / "a.msgpack") as writer:
        writer("start", {"uid": "u"})
        with pytest.raises(BadMessageError):
            writer("stop", {"uid": "s", "run_start": "u", "bad": object()})
        with pytest.raises(RecordingError, match="not the name"):
            writer("evnt", {})
        writer("stop", {"uid": "s", "run_start": "u"})
    assert [name for name, _ in read(tmp_path / "a.msgpack")] == ["start", "stop"]


def test_a_disk_that_refuses_is_told(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(RecordingError, match="cannot make the folder"):
        RecordingWriter(tmp_path / "file" / "below")
    (tmp_path / "full.msgpack").symlink_to("/dev/full")
    writer = RecordingWriter(tmp_path / "full.msgpack", overwrite=True)
    with writer, pytest.raises(RecordingError, match="cannot write"):
        writer("start", {"uid": "u"})


def test_a_full_disk_leaves_no_half_document_in_the_middle(tmp_path):
    """The limit on the size of files stands for the disk; it is lifted and recording goes on."""
    command = [sys.executable, "-c", FULL, str(tmp_path / "a.msgpack")]
    subprocess.run(command, check=True, timeout=60)
    documents = read(tmp_path / "a.msgpack")
    assert [doc["uid"] for _, doc in documents] == ["u", "after"]


FULL = """
import resource, signal, sys
from operando.streamer.errors import RecordingError
from operando.streamer.io.recording.writer import RecordingWriter
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
with RecordingWriter(sys.argv[1]) as writer:
    writer("start", {"uid": "u"})
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, resource.RLIM_INFINITY))
    try:
        writer("descriptor", {"uid": "too long", "run_start": "u", "x": "x" * 2000})
    except RecordingError:
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)
        writer("stop", {"uid": "after", "run_start": "u"})
"""


CRASH = """
import sys, numpy as np
from operando.streamer.io.recording.writer import RecordingWriter
writer = RecordingWriter(sys.argv[1])
writer("start", {"uid": "u"})
writer("descriptor", {"uid": "d", "run_start": "u"})
for i in range(10**9):
    writer("event", {"descriptor": "d", "seq_num": i, "data": {"img": np.full((64, 64), i)}})
    if i == 20:
        print("go", flush=True)
"""


def test_a_killed_writer_leaves_whole_documents(tmp_path):
    path = tmp_path / "a.msgpack"
    command = [sys.executable, "-c", CRASH, str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        os.kill(process.pid, signal.SIGKILL)
    problems: list[str] = []
    items = list(read_documents(path, report=problems.append))
    assert [item.name for item in items[:2]] == ["start", "descriptor"]
    assert [item.doc["seq_num"] for item in items[2:]] == list(range(len(items) - 2))
    assert len(items) >= 23
    assert all(item.arrival for item in items[:-1])
    assert all("cut off" in problem for problem in problems)


def test_it_is_a_bluesky_callback(tmp_path, run_engine):
    camera = SynSignal(name="img", func=lambda: np.arange(6).reshape(2, 3))
    documents: list[tuple[str, dict]] = []
    with RecordingWriter(tmp_path) as writer:
        run_engine.subscribe(writer)
        run_engine.subscribe(lambda name, doc: documents.append((name, doc)))
        run_engine(bp.count([camera], num=3))
        run_engine(bp.count([camera], num=2))
    got = [named for path in writer.paths.values() for named in read(path)]
    assert [name for name, _ in got] == [name for name, _ in documents]
    assert [doc.get("uid") for _, doc in got] == [doc.get("uid") for _, doc in documents]
