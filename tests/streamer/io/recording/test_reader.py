"""Every dialect is read; what is damaged is told and the rest is kept."""

from __future__ import annotations

import json
import os
from collections import Counter
from pathlib import Path

import msgpack
import msgpack_numpy
import numpy as np
import pytest

from operando.streamer.errors import RecordingError
from operando.streamer.io.recording.reader import list_recordings, read_documents
from operando.streamer.io.recording.writer import RecordingWriter

DOCUMENTS = [
    ("start", {"uid": "u", "time": 1.0}),
    ("descriptor", {"uid": "d", "run_start": "u", "time": 1.5}),
    ("event", {"uid": "e", "descriptor": "d", "data": {"x": [1, 2.5, None]}, "time": 2.0}),
    ("stop", {"uid": "s", "run_start": "u", "time": 3.0}),
]


def pairs() -> list[list]:
    return [[name, doc] for name, doc in DOCUMENTS]


def named() -> list[dict]:
    return [{"name": name, "doc": doc} for name, doc in DOCUMENTS]


DIALECTS = {
    "suitcase-msgpack": b"".join(msgpack.packb(pair) for pair in pairs()),
    "suitcase-jsonl": b"".join(json.dumps(pair).encode() + b"\n" for pair in pairs()),
    "bluesky-jsonl": b"".join(json.dumps(entry).encode() + b"\n" for entry in named()),
    "blank lines": b"\n".join(json.dumps(entry).encode() + b"\n" for entry in named()),
    "list of pairs": json.dumps(pairs()).encode(),
    "list, indented": json.dumps(named(), indent=4).encode(),
    "list, leading blanks": b"  \n" + json.dumps(named()).encode(),
    "json-seq": b"".join(b"\x1e" + json.dumps(entry).encode() + b"\n" for entry in named()),
    "json-seq, indented": b"".join(
        b"\x1e" + json.dumps(entry, indent=1).encode() + b"\n" for entry in named()
    ),
}


class Bomb:
    """Pickles to a call that creates a file."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self):
        return os.system, (f"touch {self.target}",)


def read(path) -> tuple[list[tuple[str, dict]], list[str]]:
    problems: list[str] = []
    items = list(read_documents(path, report=problems.append))
    return [(item.name, item.doc) for item in items], problems


@pytest.mark.parametrize("dialect", DIALECTS)
def test_each_dialect(dialect, tmp_path):
    path = tmp_path / "a.anything"
    path.write_bytes(DIALECTS[dialect])
    assert read(path) == (DOCUMENTS, [])
    assert read(str(path)) == (DOCUMENTS, [])
    assert read(f"file://{path}") == (DOCUMENTS, [])


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_cut_off_tail_is_told_and_the_rest_is_read(dialect, tmp_path):
    path = tmp_path / "a.anything"
    path.write_bytes(DIALECTS[dialect].rstrip()[:-3])
    if "list" in dialect:
        with pytest.raises(RecordingError, match="JSON is damaged"):
            read(path)
        return
    documents, problems = read(path)
    assert documents == DOCUMENTS[:-1]
    assert len(problems) == 1
    assert "cut off" in problems[0]


def test_a_damaged_line_does_not_cost_the_others(tmp_path):
    path = tmp_path / "a.jsonl"
    lines = DIALECTS["suitcase-jsonl"].splitlines(keepends=True)
    lines[2] = lines[2][:20] + b"\n"
    lines.insert(1, b'["no_such_document", {}]\n')
    path.write_bytes(b"".join(lines))
    documents, problems = read(path)
    assert documents == [DOCUMENTS[0], DOCUMENTS[1], DOCUMENTS[3]]
    assert [problem.split(": ")[1] for problem in problems] == ["skipped line 2", "skipped line 4"]


def test_damaged_msgpack_ends_the_reading_with_a_word(tmp_path):
    path = tmp_path / "a.msgpack"
    packed = [msgpack.packb(pair) for pair in pairs()]
    path.write_bytes(b"".join([*packed[:2], b"\xc1\xc1", *packed[2:]]))
    documents, problems = read(path)
    assert documents == DOCUMENTS[:2]
    assert "not msgpack after" in problems[0]
    path.write_bytes(b"".join([*packed[:2], msgpack.packb(msgpack.ExtType(3, b"x")), *packed[2:]]))
    assert read(path)[0] == DOCUMENTS[:2]


def test_pickles_in_a_recording_are_skipped_and_not_run(tmp_path):
    path, target = tmp_path / "a.msgpack", tmp_path / "ran"
    bad = ["event", {"data": {"img": np.array([Bomb(target)], dtype=object)}}]
    packed = [msgpack.packb(pair) for pair in pairs()]
    packed.insert(2, msgpack.packb(bad, default=msgpack_numpy.encode))
    path.write_bytes(b"".join(packed))
    documents, problems = read(path)
    assert not target.exists()
    assert documents == DOCUMENTS
    assert len(problems) == 1
    assert "dtype" in problems[0]


@pytest.mark.parametrize(
    "content",
    [b"", b"\n\n", b"hello", b"\x89PNG\r\n", b"[1, 2", b'{"a": 1', b"\x80\x04\x95"],
    ids=repr,
)
def test_what_is_no_recording_is_told(content, tmp_path):
    path = tmp_path / "a.json"
    path.write_bytes(content)
    if content.startswith(b"{"):
        assert read(path)[0] == []
        return
    with pytest.raises(RecordingError, match=r"a\.json is no recording"):
        read(path)


def test_a_folder_is_read_in_order_and_the_unreadable_is_told(tmp_path):
    for stamp, uid in ((2e9, "later"), (1e9, "earlier")):
        with RecordingWriter(tmp_path, clock=lambda stamp=stamp: stamp) as writer:
            writer("start", {"uid": uid})
    (tmp_path / "0-broken.msgpack").write_bytes(b"nonsense")
    (tmp_path / "notes.txt").write_text("not looked at")
    documents, problems = read(tmp_path)
    assert [doc["uid"] for _, doc in documents] == ["earlier", "later"]
    assert len(problems) == 1
    assert "0-broken.msgpack" in problems[0]


def test_nothing_to_read_is_told(tmp_path):
    with pytest.raises(RecordingError, match="no recording in the folder"):
        read(tmp_path)
    with pytest.raises(RecordingError, match="no such file"):
        read(tmp_path / "none")
    (tmp_path / "broken.json").write_bytes(b"x")
    with pytest.raises(RecordingError, match="no recording in the folder"):
        read(tmp_path)


STREAMS = Path(__file__).resolve().parents[3].parent / "shared" / "data" / "bluesky-streams"
FOLDERS = sorted(p for p in STREAMS.glob("*") if p.is_dir())
FILES = [path for folder in FOLDERS for path in list_recordings(folder)]


@pytest.mark.data
@pytest.mark.skipif(not FILES, reason="the shared real data is not beside this checkout")
@pytest.mark.parametrize("path", FILES, ids=lambda p: f"{p.parent.name}/{p.name[:12]}")
def test_every_recorded_stream_is_read_whole(path):
    documents, problems = read(path)
    assert problems == []
    assert documents[0][0] == "start"
    assert documents[-1][0] == "stop"
    counts = Counter(name for name, _ in documents)
    assert counts["start"] == counts["stop"] == 1
    if path.suffix == ".jsonl":
        assert len(documents) == len(path.read_text().splitlines())


@pytest.mark.data
@pytest.mark.skipif(not FILES, reason="the shared real data is not beside this checkout")
def test_recorded_images_come_out_as_arrays():
    (path,) = [path for path in FILES if path.suffix == ".msgpack"]
    documents, _ = read(path)
    images = [doc["data"]["img"][0] for name, doc in documents if name == "event_page"]
    assert len(images) == 10
    assert {(image.shape, image.dtype.str) for image in images} == {((240, 320), "|u1")}
    assert len({image.tobytes() for image in images}) == 10
