"""Each kind of fault, put into a replay: the books balance, and other frames are what they were.

Everything but the network is real: a recording, the source that reads it, the service.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
import pytest

from operando.callbacks import StreamProcessor
from operando.streamer.config import load_settings
from operando.streamer.core.streams import rows_of
from operando.streamer.io.recording.reader import read_documents
from operando.streamer.io.recording.writer import RecordingWriter
from operando.streamer.io.sources import make_source
from operando.streamer.lab.faults import FaultInjector, FaultScript
from operando.streamer.lab.simulate import SimSettings, simulate_documents
from operando.streamer.service.service import Service, ServiceSettings

SMALL = SimSettings(
    shape=(160, 160),
    n_particles=3,
    radius_px=(13, 18),
    energies=tuple(np.linspace(8360, 8400, 10)),
    chunk=1,
    jitter_px=0.7,
    drift_px=2.0,
    wander_px=1.0,
)
ALL = range(1, 11)
VOLATILE = ["latency", "aligned", "roi", "frame"]


@dataclass
class Replayed:
    """What came of a recording."""

    frames: pd.DataFrame
    particles: pd.DataFrame
    ledger: dict
    stops: list
    strays: dict
    bad: int
    injected: dict = field(default_factory=dict)

    def places(self, seq_num: int) -> pd.DataFrame:
        """Live rows of the particles in a frame, by its event number, without the frame number."""
        if self.frames.empty:
            return self.frames
        first = self.frames[(self.frames["revision"] == 0) & (self.frames["status"] != "skipped")]
        numbers = first.loc[first["raw_seq_num"] == seq_num, "frame"]
        rows = self.particles
        rows = rows[(rows["revision"] == 0) & rows["frame"].isin(numbers)]
        return rows.drop(columns=VOLATILE, errors="ignore").set_index("particle").sort_index()


def replayed(path, *faults, seed=0, max_items=32):
    given = list(faults) or [{"kind": "drop", "stream": "none of these"}]
    injector = FaultInjector(FaultScript.model_validate({"seed": seed, "faults": given}))
    source = make_source("recording", path=str(path), injector=injector)
    settings = load_settings("sim_txm", {"registration": {"whole_scan": False}})
    processor, results = StreamProcessor(settings), []
    processor.subscribe(lambda name, doc: results.append((name, doc)))
    with source:
        service = Service(source, processor, ServiceSettings(max_items=max_items))
        service.run(threading.Event())
    processor.close()
    rows = {"frames": [], "particles": [], **rows_of(results)}
    stops = [doc for name, doc in results if name == "stop"]
    return Replayed(
        frames=pd.DataFrame(rows["frames"]),
        particles=pd.DataFrame(rows["particles"]),
        ledger=stops[0]["ledger"] if stops else {},
        stops=stops,
        strays=dict(processor.strays),
        bad=source.counters().bad,
        injected=dict(injector.state.injected),
    )


def recorded(path, **how):
    with RecordingWriter(path) as writer:
        for name, doc in simulate_documents(SMALL, order="flat_first", **how):
            writer.write(name, doc, doc["time"][0] if name == "event_page" else doc["time"])
    return path


@pytest.fixture(scope="module")
def recording(tmp_path_factory):
    return recorded(tmp_path_factory.mktemp("faults") / "scan.msgpack")


@pytest.fixture(scope="module")
def undisturbed(recording):
    return replayed(recording)


@dataclass(frozen=True)
class Case:
    """A fault at event 5, and what it costs.

    `exact` are the events whose rows must be the same bit for bit: those before the fault in any
    case; `near` px is how far those after it may be from what they were, as what is known of a
    particle comes from the frames before.
    """

    fault: dict
    skipped: dict = field(default_factory=dict)
    dropped: dict = field(default_factory=dict)
    notices: dict = field(default_factory=dict)
    received: int = 10
    bad: int = 0
    exact: range = range(1, 5)
    near: float = 0.15
    gone: tuple = (5,)


FIVE = {"seq_num": [5, 5]}
CASES = {
    "drop": Case({"kind": "drop", **FIVE}, dropped={"never_arrived": 1}),
    "duplicate": Case({"kind": "duplicate", **FIVE}, notices={"duplicate": 1}, exact=ALL, gone=()),
    "duplicates": Case(
        {"kind": "duplicate", **FIVE, "copies": 3}, notices={"duplicate": 3}, exact=ALL, gone=()
    ),
    "rewound": Case(
        {"kind": "duplicate", **FIVE, "new_uid": True},
        skipped={"duplicate": 1},
        received=11,
        exact=ALL,
        gone=(),
    ),
    "reorder": Case({"kind": "reorder", **FIVE, "by": 2}, skipped={"out_of_order": 1}),
    "delay": Case({"kind": "delay", **FIVE, "seconds": 6}, skipped={"out_of_order": 1}),
    "delay, held up": Case(
        {"kind": "delay", **FIVE, "seconds": 6, "hold_up": True}, exact=ALL, gone=()
    ),
    "late start": Case(
        {"kind": "late_start", "first_seq_num": 4, "keep": ["descriptor"]},
        dropped={"never_arrived": 3},
        notices={"orphan": 1, "flat_never_arrived": 10, "dark_never_arrived": 1},
        exact=range(0),
        near=1.0,  # no flat at all: the light is estimated from the frames themselves
        gone=(1, 2, 3),
    ),
    "missing stop": Case({"kind": "missing_stop"}, exact=ALL, gone=()),
    "nan": Case({"kind": "nan", **FIVE}, skipped={"nan": 1}),
    "nan in most": Case({"kind": "nan", **FIVE, "fraction": 0.6}, skipped={"nan": 1}),
    "nan in some": Case({"kind": "nan", **FIVE, "fraction": 0.02}, gone=()),
    "saturated": Case({"kind": "saturated", **FIVE, "fraction": 0.6}, skipped={"saturated": 1}),
    "all saturated": Case({"kind": "saturated", **FIVE, "fraction": 1}, skipped={"saturated": 1}),
    "blank": Case({"kind": "blank", **FIVE}, skipped={"blank": 1}),
    "beam loss": Case(
        {"kind": "beam_loss", "seq_num": [5, 7]}, skipped={"blank": 3}, gone=(5, 6, 7)
    ),
    "beam fades": Case(
        {"kind": "beam_loss", "seq_num": [5, 7], "ramp": 1}, {"blank": 1}, gone=(6,)
    ),
    "energy jump": Case({"kind": "energy_jump", **FIVE, "offset_ev": 25}, gone=()),
    "corrupt": Case({"kind": "corrupt", **FIVE}, dropped={"never_arrived": 1}, bad=1),
    "garbage": Case(
        {"kind": "corrupt", **FIVE, "mode": "garbage"}, dropped={"never_arrived": 1}, bad=1
    ),
    "no descriptor": Case(
        {"kind": "drop", "documents": ["descriptor"]},
        dropped={"no_descriptor": 10},
        exact=range(0),
        gone=tuple(ALL),
    ),
    "no start": Case(
        {"kind": "drop", "documents": ["start"]}, notices={"orphan": 1}, exact=ALL, gone=()
    ),
    "no flat": Case(
        {"kind": "drop", "stream": "flat", "seq_num": [5, 5]},
        notices={"flat_never_arrived": 1},
        gone=(),
        near=0.3,
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_the_books_balance_and_the_reason_is_named(recording, undisturbed, name):
    case = CASES[name]
    got = replayed(recording, case.fault)
    assert sum(got.injected.values()) >= 1
    assert got.ledger["balanced"]
    assert got.ledger["received"] == case.received
    assert got.ledger["skipped"] == case.skipped
    assert got.ledger["dropped"] == case.dropped
    assert got.ledger["notices"] == case.notices
    assert got.bad == case.bad
    assert len(got.stops) == 1
    for seq_num in set(ALL) - set(case.gone):
        now, before = got.places(seq_num), undisturbed.places(seq_num)
        assert len(before) == 3
        if seq_num in case.exact:
            pd.testing.assert_frame_equal(now, before, check_exact=True)
        else:
            assert list(now.index) == list(before.index)
            np.testing.assert_allclose(now[["y", "x"]], before[["y", "x"]], atol=case.near)
    for seq_num in case.gone:
        assert got.places(seq_num).empty


def test_a_row_tells_the_books_when_it_was_written(recording):
    faults = ({"kind": "nan", **FIVE}, {"kind": "drop", "seq_num": [7, 8]})
    got = replayed(recording, *faults)
    live = got.frames[[c for c in got.frames if c.startswith("ledger_")]]
    assert list(live["ledger_received"]) == [1, 2, 3, 4, 5, 6, 7, 8]
    assert list(live["ledger_skipped"]) == [0] * 4 + [1] * 4
    accounted = live.drop(columns="ledger_received").sum(axis=1)
    assert (accounted == live["ledger_received"]).all()
    assert got.ledger["dropped"] == {"never_arrived": 2}  # known when the run has ended


def test_a_jump_of_the_field_is_told_as_drift(recording, undisturbed):
    fault = {"kind": "field_jump", "seq_num": [5, 10], "dy": 6, "dx": -4}
    got = replayed(recording, fault)
    assert got.ledger["balanced"]
    assert got.ledger["skipped"] == got.ledger["dropped"] == {}
    for seq_num in ALL:
        now, before = got.places(seq_num), undisturbed.places(seq_num)
        moved = (6, -4) if seq_num >= 5 else (0, 0)
        np.testing.assert_allclose(now[["y", "x"]] - before[["y", "x"]], [moved] * 3, atol=0.6)
    drift = got.frames["drift_y"] - undisturbed.frames["drift_y"]
    np.testing.assert_allclose(drift, [0] * 4 + [6] * 6, atol=0.6)


def test_a_wrong_energy_is_told_as_it_was_read(recording, undisturbed):
    got = replayed(recording, CASES["energy jump"].fault)
    told = got.frames["energy"] - undisturbed.frames["energy"]
    np.testing.assert_allclose(told, [0, 0, 0, 0, 25, 0, 0, 0, 0, 0], atol=1e-6)


def test_what_comes_after_the_stop_is_lost_to_the_run_and_counted(recording):
    got = replayed(recording, {"kind": "delay", "seq_num": [10, 10], "seconds": 1000})
    assert got.ledger["dropped"] == {"never_arrived": 1}
    assert got.ledger["balanced"]
    assert got.strays == {"orphan": 1}


def test_who_joins_after_the_descriptors_gets_no_frame_and_that_is_counted(recording):
    got = replayed(recording, {"kind": "late_start", "first_seq_num": 4})
    assert got.stops == []
    assert got.strays == {"orphan": 8}  # seven events and the stop


def test_a_run_of_which_no_frame_comes_has_its_books(recording):
    nothing = {"kind": "drop", "stream": None, "documents": ["event"]}
    got = replayed(recording, nothing)
    assert got.ledger["received"] == 10
    assert got.ledger["dropped"] == {"never_arrived": 10}
    assert got.ledger["balanced"]


def test_a_missing_stop_is_told(recording):
    (stop,) = replayed(recording, {"kind": "missing_stop"}).stops
    assert stop["exit_status"] == "fail"


MANY = (
    {"kind": "drop", "probability": 0.15},
    {"kind": "duplicate", "probability": 0.2, "new_uid": True},
    {"kind": "reorder", "probability": 0.15, "by": 2},
    {"kind": "blank", "probability": 0.15},
    {"kind": "corrupt", "probability": 0.15, "mode": "garbage"},
)


def test_many_faults_at_once_are_the_same_however_documents_are_taken(recording):
    one, many = (replayed(recording, *MANY, seed=3, max_items=n) for n in (1, 32))
    assert one.injected == many.injected
    assert len(one.injected) >= 4
    assert one.ledger == many.ledger
    assert one.ledger["balanced"]
    for mine, its in ((one.frames, many.frames), (one.particles, many.particles)):
        drop = ["latency", "aligned", "roi"]
        pd.testing.assert_frame_equal(
            mine.drop(columns=drop, errors="ignore"),
            its.drop(columns=drop, errors="ignore"),
            check_exact=True,
        )


@pytest.mark.parametrize("how", [{"flavour": "event_page"}, {"chunk": 3}], ids=["pages", "chunks"])
def test_pages_and_chunks_are_struck_as_well(tmp_path, how):
    faults = (
        {"kind": "drop", "seq_num": [3, 3]},
        {"kind": "nan", **FIVE},
        {"kind": "saturated", "seq_num": [6, 6], "fraction": 0.7},
        {"kind": "blank", "seq_num": [7, 7]},
        {"kind": "duplicate", "seq_num": [8, 8], "new_uid": True},
    )
    got = replayed(recorded(tmp_path / "scan.msgpack", **how), *faults)
    assert got.ledger["received"] == 11
    assert got.ledger["skipped"] == {"nan": 1, "saturated": 1, "blank": 1, "duplicate": 1}
    assert got.ledger["dropped"] == {"never_arrived": 1}
    assert got.ledger["aligned"] == 6
    assert got.ledger["balanced"]


def test_documents_of_the_recording_are_read_only(recording):
    documents = [(item.name, item.doc) for item in read_documents(recording)]
    arrays = [d["data"]["txm_image"] for n, d in documents if n == "event"]
    assert not any(a.flags.writeable for a in arrays)  # so that a fault that wrote would raise
