"""What arrives, how often and when."""

from __future__ import annotations

import copy

import numpy as np
import pytest

from operando.streamer.io.wire.codec import BadMessageError
from operando.streamer.io.wire.message import pack, unpack
from operando.streamer.lab.faults import summary_lines


def test_what_no_fault_is_meant_for_arrives_as_it_is(send, six):
    sent = send(six, {"kind": "drop", "stream": "flat"})
    assert [(s.name, s.at) for s in sent] == [(n, float(i)) for i, (n, _) in enumerate(six)]
    assert all(s.doc is doc for s, (_, doc) in zip(sent, six, strict=True))


def test_drop_takes_a_range_of_event_numbers(send, six, numbers):
    sent = send(six, {"kind": "drop", "seq_num": [2, 3]})
    assert numbers(sent) == ["st", "de", 1, 4, 5, 6, "st"]


@pytest.mark.parametrize("name", ["start", "descriptor", "stop"])
def test_drop_takes_other_documents_by_name(send, six, name):
    sent = send(six, {"kind": "drop", "documents": [name]})
    assert [s.name for s in sent] == [n for n, _ in six if n != name]


@pytest.mark.parametrize("new_uid", [False, True])
def test_duplicates_come_at_once(send, six, numbers, new_uid):
    sent = send(six, {"kind": "duplicate", "seq_num": [2, 2], "copies": 2, "new_uid": new_uid})
    assert numbers(sent) == ["st", "de", 1, 2, 2, 2, 3, 4, 5, 6, "st"]
    assert len({s.doc["uid"] for s in sent[3:6]}) == (3 if new_uid else 1)
    assert send.state.injected == {"duplicate": 2}


def test_reorder_lets_others_overtake_but_not_the_stop(send, six, numbers):
    sent = send(six, {"kind": "reorder", "seq_num": [2, 2], "by": 2})
    assert numbers(sent) == ["st", "de", 1, 3, 4, 2, 5, 6, "st"]
    sent = send(six, {"kind": "reorder", "seq_num": [5, 5], "by": 9})
    assert numbers(sent) == ["st", "de", 1, 2, 3, 4, 6, 5, "st"]


def test_a_delayed_event_is_overtaken_also_by_the_stop(send, six, numbers):
    sent = send(six, {"kind": "delay", "seq_num": [2, 2], "seconds": 2.5})
    assert numbers(sent) == ["st", "de", 1, 3, 4, 2, 5, 6, "st"]
    assert [s.at for s in sent] == [0, 1, 2, 4, 5, 5.5, 6, 7, 8]
    sent = send(six, {"kind": "delay", "seq_num": [5, 5], "seconds": 100})
    assert numbers(sent)[-2:] == ["st", 5]


def test_a_delay_that_holds_up_keeps_the_order(send, six, numbers):
    fault = {"kind": "delay", "seq_num": [2, 2], "seconds": 2.5, "hold_up": True}
    sent = send(six, fault)
    assert numbers(sent) == ["st", "de", 1, 2, 3, 4, 5, 6, "st"]
    assert [s.at for s in sent] == [0, 1, 2, 5.5, 5.5, 5.5, 6, 7, 8]


def test_who_starts_late_misses_the_beginning(send, six, numbers):
    sent = send(six, {"kind": "late_start", "first_seq_num": 4})
    assert numbers(sent) == [4, 5, 6, "st"]
    sent = send(six, {"kind": "late_start", "first_seq_num": 4, "keep": ["descriptor"]})
    assert numbers(sent) == ["de", 4, 5, 6, "st"]


def test_a_missing_stop(send, six):
    assert [s.name for s in send(six, {"kind": "missing_stop"})] == [n for n, _ in six[:-1]]


@pytest.mark.parametrize("mode", ["truncate", "garbage", "name"])
def test_a_corrupt_message_is_refused_by_the_decoder(send, six, mode):
    sent = send(six, {"kind": "corrupt", "seq_num": [3, 3], "mode": mode})
    (spoilt,) = [s for s in sent if s.message]
    assert spoilt.doc["seq_num"] == 3
    with pytest.raises(BadMessageError):
        unpack(spoilt.message)


def test_flipped_bits_are_as_many_as_asked_for(send, six):
    whole = send(six, {"kind": "corrupt", "seq_num": [3, 3], "mode": "flip", "bits": 1})
    more = send(six, {"kind": "corrupt", "seq_num": [3, 3], "mode": "flip", "bits": 9})
    one, nine = (next(s for s in sent if s.message).message for sent in (whole, more))
    clean = np.frombuffer(pack("event", six[4][1]), np.uint8)
    turned = [int(np.unpackbits(np.frombuffer(m, np.uint8) ^ clean).sum()) for m in (one, nine)]
    assert turned == [1, 9]


def test_the_rows_of_a_page_are_struck_one_by_one(send, make, numbers):
    documents = make["run_of"]("primary", events=[("event_page", make["page"](range(1, 5)))])
    sent = send(documents, {"kind": "reorder", "seq_num": [2, 2], "by": 1})
    assert [s.name for s in sent] == ["start", "descriptor", *["event_page"] * 4, "stop"]
    assert numbers(sent) == ["st", "de", 1, 3, 2, 4, "st"]
    untouched = send(documents, {"kind": "drop", "seq_num": [9, 9]})
    assert untouched[2].doc is documents[2][1]


def test_the_seed_decides_and_what_came_before_does_not(send, make, numbers):
    documents = make["run_of"](
        "primary", events=[("event", make["event"](n)) for n in range(1, 40)]
    )
    fault = {"kind": "drop", "probability": 0.3}
    first, again = (numbers(send(documents, fault, seed=5)) for _ in range(2))
    assert first == again
    assert 5 < len(documents) - len(first) < 20
    assert numbers(send(documents, fault, seed=6)) != first
    later = [d for d in documents if d[1].get("seq_num", 99) > 20]
    assert numbers(send(later, fault, seed=5))[2:] == [n for n in first[2:] if n == "st" or n > 20]


def test_nothing_is_changed_in_place(send, six):
    before = copy.deepcopy(six)
    for kind in ("nan", "saturated", "blank", "field_jump"):
        send(six, {"kind": kind}, {"kind": "duplicate", "new_uid": True}, {"kind": "corrupt"})
    send(six, {"kind": "beam_loss", "seq_num": [1, 6]}, {"kind": "energy_jump", "offset_ev": 9})
    for (_, one), (_, other) in zip(six, before, strict=True):
        np.testing.assert_equal(one, other)


def test_the_summary_names_what_struck_and_what_could_not(send, six):
    del six[4][1]["data"]["cam"]
    send(six, {"kind": "nan", "seq_num": [2, 3]}, {"kind": "drop", "seq_num": [70, 80]}, seed=3)
    first, second = summary_lines(send.state, send.script)
    assert first == "faults injected with seed 3: 1 nan, 0 drop"
    assert second.endswith(": 1 nan")
