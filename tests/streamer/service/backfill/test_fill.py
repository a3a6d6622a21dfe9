"""What was missed is put in where it belongs, once."""

from __future__ import annotations

import pytest

from operando.streamer.errors import ConfigError, RecordingError
from operando.streamer.io.recording.writer import RecordingWriter
from operando.streamer.service.backfill import Backfill, make_provider


def run(n=6, uid="run"):
    """A run with two streams that take turns."""
    documents = [("start", {"uid": uid})]
    for name in ("primary", "flat"):
        documents.append(("descriptor", {"uid": f"{uid}-{name}", "run_start": uid, "name": name}))
    for i in range(1, n + 1):
        for name in ("primary", "flat"):
            documents.append(
                ("event", {"uid": f"{uid}-{name}{i}", "descriptor": f"{uid}-{name}", "seq_num": i})
            )
    documents.append(("stop", {"uid": f"{uid}-stop", "run_start": uid}))
    return documents


class Kept:
    """A provider that keeps documents in memory and counts how often it is asked."""

    name = "memory"

    def __init__(self, documents):
        self.documents = documents
        self.asked = 0

    def run_of(self, key, value):
        self.asked += 1
        known = any(name == key and doc["uid"] == value for name, doc in self.documents)
        return iter(self.documents) if known else None


class Broken:
    name = "broken"

    def run_of(self, key, value):
        raise RecordingError("no such disk")


@pytest.mark.parametrize("joined", range(len(run()) - 1))
def test_a_late_joiner_gets_all_of_the_run_in_order(joined):
    documents = run()
    provider = Kept(documents)
    assert Backfill([Broken(), provider]).fill(documents[joined:]) == documents
    assert provider.asked == (joined > 0)


@pytest.mark.parametrize("lost", range(3, 13))
def test_a_lost_event_is_fetched_before_the_next_of_its_stream(lost):
    documents = run()
    got = Backfill([Kept(documents)], clock=lambda: 0.0).fill(
        documents[:lost] + documents[lost + 1 :]
    )
    assert sorted(map(str, got)) == sorted(map(str, documents))
    for name in ("primary", "flat"):
        numbers = [d["seq_num"] for _, d in got if d.get("descriptor") == f"run-{name}"]
        assert numbers == [1, 2, 3, 4, 5, 6]


def test_nothing_is_asked_while_nothing_is_missing():
    provider = Kept([])
    documents = run() + run(uid="next")
    assert Backfill([provider]).fill(documents) == documents
    assert provider.asked == 0


def test_what_nobody_has_is_gone_without():
    documents = run()
    provider = Kept(run(uid="other"))
    rest = documents[5:]
    backfill = Backfill([provider])
    assert backfill.fill(rest) == rest
    assert backfill.unknown == {"run-primary", "run-flat"}
    assert provider.asked == 2  # once for each descriptor, not for each event


def test_a_provider_that_lags_behind_gives_what_it_has():
    documents = run()
    provider = Kept(documents[:6])
    got = Backfill([provider]).fill(documents[9:])
    assert got == documents[:6] + documents[9:]


def test_repeats_are_left_out():
    documents = run()
    assert Backfill([Kept(documents)]).fill([*documents[7:10], *documents[6:]]) == documents


def test_gaps_are_looked_up_no_more_often_than_is_fair():
    now = [0.0]

    class Slow(Kept):
        def run_of(self, key, value):
            now[0] += 1.0
            return super().run_of(key, value)

    provider = Slow(run(40))
    documents = [d for d in run(40) if d[1].get("seq_num", 1) % 2]
    Backfill([provider], clock=lambda: now[0]).fill(documents)
    assert provider.asked == 1


def test_streams_from_before_a_restart_are_taken_as_they_come():
    documents = run()
    provider = Kept(documents)
    known = {"run-primary": ("run", None), "run-flat": ("run", None)}
    backfill = Backfill([provider], known)
    assert backfill.fill(documents[7:]) == documents[7:]
    assert provider.asked == 0


def test_what_was_lost_while_a_restart_went_on_is_fetched():
    documents = run()
    provider = Kept(documents)
    events = [i for i, (name, _) in enumerate(documents) if name == "event"]
    of_primary = [i for i in events if documents[i][1]["descriptor"] == "run-primary"]
    came, next_one = of_primary[0], of_primary[3]
    known = {"run-primary": ("run", ((1, 2),)), "run-flat": ("run", None)}
    filled = Backfill([provider], known).fill(documents[next_one:])
    lost = documents[came + 1 : next_one]
    unknown = [named for named in lost if named[1]["descriptor"] == "run-flat"]
    assert filled == [named for named in lost if named not in unknown] + documents[next_one:]
    assert provider.asked == 1


def test_other_streams_of_a_gap_come_in_the_order_in_which_they_were_sent():
    documents = run()
    provider = Kept(documents)
    assert Backfill([provider]).fill(documents[:4] + documents[9:]) == documents
    assert provider.asked == 1


def test_recordings_of_a_folder_are_a_provider(tmp_path):
    for documents in (run(uid="other"), run()[:-1]):
        with RecordingWriter(tmp_path) as writer:
            for named in documents:
                writer(*named)
    provider = make_provider(str(tmp_path))
    assert Backfill([provider]).fill(run()[8:]) == run()
    assert provider.run_of("descriptor", "nobody's") is None


def test_a_place_that_is_none_is_told():
    with pytest.raises(ConfigError, match="no such folder"):
        make_provider("/no/such/folder")
