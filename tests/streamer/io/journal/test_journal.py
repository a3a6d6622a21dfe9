"""What is appended is read back, whatever is torn, damaged, full or old."""

from __future__ import annotations

import os

import numpy as np
import pytest

from operando.streamer.errors import JournalError
from operando.streamer.io.journal import JournalReader, JournalSettings, JournalWriter
from operando.streamer.io.journal.segments import HEADER_BYTES, JournalFolder
from operando.streamer.io.wire.message import pack


@pytest.fixture
def folder(tmp_path):
    return JournalFolder(tmp_path / "journal")


def document(i, size=1000):
    return {"uid": f"e{i}", "data": {"image": np.full(size, i, np.uint8)}}


def append(writer, i, name="event", size=1000, at=0.0):
    return writer.append(pack(name, document(i, size)), name, at or 1e9 + i)


def everything(folder, position=None):
    reader = JournalReader(folder, position)
    found = []
    while items := reader.read(3, 1 << 20):
        found += items
    reader.close()
    return found, reader


def uids(found):
    return [item.doc["uid"] for _, item in found]


def test_documents_come_back_in_order_with_their_times(folder):
    with JournalWriter(folder) as writer:
        assert all(append(writer, i) for i in range(10))
        found, reader = everything(folder)
    assert uids(found) == [f"e{i}" for i in range(10)]
    assert [item.received_at for _, item in found] == [1e9 + i for i in range(10)]
    np.testing.assert_array_equal(found[7][1].doc["data"]["image"], np.full(1000, 7, np.uint8))
    assert reader.position == writer.end == reader.end


def test_reading_begins_anywhere(folder):
    with JournalWriter(folder, JournalSettings(segment_mb=0.003)) as writer:
        for i in range(10):
            append(writer, i)
    assert len(folder.segments()) > 3
    found, _ = everything(folder)
    for number, (at, _) in enumerate(found):
        rest, _ = everything(folder, at)
        assert uids(rest) == [f"e{i}" for i in range(number, 10)]


def test_a_reader_follows_the_writer(folder):
    reader = JournalReader(folder)
    assert reader.read(10, 1000) == []
    with JournalWriter(folder, JournalSettings(segment_mb=0.003)) as writer:
        for i in range(10):
            append(writer, i)
            assert uids(reader.read(10, 1 << 20)) == [f"e{i}"]
            assert reader.read(10, 1 << 20) == []
    reader.close()


def test_bytes_at_once_are_bounded_but_one_document_always_comes(folder):
    with JournalWriter(folder) as writer:
        for i in range(6):
            append(writer, i, size=10_000)
        reader = JournalReader(folder)
        assert len(reader.read(100, 25_000)) == 3
        assert len(reader.read(100, 10)) == 1
        reader.close()


@pytest.mark.parametrize("left", [1, HEADER_BYTES - 1, HEADER_BYTES, HEADER_BYTES + 5, -1])
def test_what_a_killed_writer_left_of_its_last_record_is_cut_off(folder, left):
    with JournalWriter(folder) as writer:
        for i in range(3):
            append(writer, i)
        end = writer.end
        append(writer, 3)
        whole = writer.end
    size = end + left if left >= 0 else whole - 1
    os.truncate(folder.segment(0), size)
    found, reader = everything(folder)
    assert uids(found) == ["e0", "e1", "e2"]
    assert reader.damaged == 0
    with JournalWriter(folder) as writer:
        assert writer.end == end
        append(writer, 4)
    found, _ = everything(folder)
    assert uids(found) == ["e0", "e1", "e2", "e4"]


def test_a_damaged_document_costs_itself_only(folder):
    with JournalWriter(folder) as writer:
        for i in range(5):
            append(writer, i)
    (at, _) = everything(folder)[0][2]
    with folder.segment(0).open("r+b") as file:
        file.seek(at + HEADER_BYTES + 500)
        file.write(b"\xff")
    found, reader = everything(folder)
    assert uids(found) == ["e0", "e1", "e3", "e4"]
    assert reader.damaged == 1


def test_segments_are_removed_when_confirmed_and_in_the_way(folder):
    settings = JournalSettings(segment_mb=0.003, max_gb=12e-6, keep_h=24)
    with JournalWriter(folder, settings) as writer:
        kept = sum(append(writer, i) for i in range(20))
        assert kept < 20  # nothing is confirmed, so nothing may go
        assert writer.prune(0) == []
        assert not append(writer, 20)
        removed = writer.prune(writer.end)
        assert removed
        assert append(writer, 21)
    found, _ = everything(folder)
    assert uids(found)[-1] == "e21"
    with pytest.raises(JournalError, match="begins at"):
        JournalReader(folder, 0)


def test_confirmed_segments_stay_for_a_while(folder):
    now = [1e9]
    settings = JournalSettings(segment_mb=0.003, keep_h=1)
    with JournalWriter(folder, settings, clock=lambda: now[0]) as writer:
        for i in range(20):
            append(writer, i)
        for begin in folder.segments():
            os.utime(folder.segment(begin), (now[0], now[0]))
        assert writer.prune(writer.end) == []
        now[0] += 3601
        begins = folder.segments()
        assert writer.prune(begins[3]) == begins[:3]
        assert writer.prune(writer.end) == begins[3:-1]


def test_documents_that_open_and_close_runs_have_a_reserve(folder):
    with JournalWriter(folder, JournalSettings(max_gb=2e-6, segment_mb=0.0005)) as writer:
        assert append(writer, 0)
        assert not append(writer, 1)
        assert append(writer, 2, name="stop")


def test_two_writers_are_one_too_many(folder):
    with JournalWriter(folder), pytest.raises(JournalError, match="another process"):
        JournalWriter(folder)
    JournalWriter(folder).close()
