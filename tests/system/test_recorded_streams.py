"""Streams that others recorded: whatever they hold, the service goes on and says what it did."""

from __future__ import annotations

import logging
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from operando.callbacks import StreamProcessor
from operando.streamer.io.recording.reader import list_recordings, read_documents
from operando.streamer.io.sources import make_source
from operando.streamer.service.service import Service

pytestmark = pytest.mark.data

STREAMS = Path(__file__).resolve().parents[3] / "shared" / "data" / "bluesky-streams"
FILES = sorted(
    path for folder in STREAMS.glob("*") if folder.is_dir() for path in list_recordings(folder)
)
NAMES = [str(path.relative_to(STREAMS)) for path in FILES]


def has_images(path: Path) -> bool:
    """Whether a stream announces images, seen without our own assembler."""
    documents = [(item.name, item.doc) for item in read_documents(path)]
    return any(
        name in ("resource", "stream_resource", "datum", "datum_page", "stream_datum")
        or "xicam" in str(path)
        for name, _ in documents
    )


def test_there_are_streams(shared_data):
    assert len(NAMES) >= 30


@pytest.mark.parametrize("name", NAMES)
def test_every_stream_goes_through(name, caplog):
    import threading

    path = STREAMS / name
    results = []
    processor = StreamProcessor()
    processor.subscribe(lambda name, doc: results.append((name, doc)))
    caplog.set_level(logging.INFO, "operando")
    with make_source("recording", path=str(path), speed="max") as source:
        assert Service(source, processor).run(threading.Event()) > 0
    processor.close()

    raw = [item.doc["uid"] for item in read_documents(path) if item.name == "start"]
    starts = [doc["original_run_uid"] for kind, doc in results if kind == "start"]
    stops = [doc for kind, doc in results if kind == "stop"]
    assert len(starts) == len(stops)
    assert set(starts) <= set(raw)
    for stop in stops:
        assert stop["ledger"]["balanced"], stop["ledger"]
        assert stop["ledger"]["received"] > 0
        assert "internal_error" not in stop["ledger"]["skipped"]

    lines = [record.getMessage() for record in caplog.records]
    declined = [line for line in lines if "declined" in line]
    assert all("no images" in line for line in declined)
    if not has_images(path):
        assert starts == []
        assert len(declined) == len(set(raw)), lines
    # no image has a line of its own
    per_kind = Counter("".join(c for c in line if not c.isdigit()) for line in lines)
    assert max(per_kind.values(), default=0) <= len(raw), per_kind


def replay(path: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "operando.streamer.cli", "replay", str(path), "--speed", "max"],
        capture_output=True,
        text=True,
        timeout=120,
    )


@pytest.mark.system
def test_the_command_says_why_runs_are_declined_or_their_images_cannot_be_had(shared_data):
    ended = replay(shared_data / "bluesky-streams" / "tutorials")
    assert ended.returncode == 0, ended.stderr
    lines = ended.stderr.splitlines()
    assert sum("declined: no images" in line for line in lines) == 10
    assert sum("no reader for images of kind 'newton'" in line for line in lines) == 7
    assert sum("24 more sample images: unknown_spec" in line for line in lines) == 7
    assert sum("25 unknown_spec (balanced)" in line for line in lines) == 7
    assert "Traceback" not in ended.stderr


@pytest.mark.system
def test_the_command_processes_images_of_others(shared_data):
    ended = replay(shared_data / "bluesky-streams" / "xicam-inline-images")
    assert ended.returncode == 0, ended.stderr
    assert "ledger: 10 received = " in ended.stderr
    assert "(balanced)" in ended.stderr
