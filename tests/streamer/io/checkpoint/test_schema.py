"""A checkpoint outlives changes of the program, and no change of a class goes unnoticed."""

from __future__ import annotations

import json
import re
import sys
from contextlib import contextmanager
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path

import pytest

from operando.callbacks import StreamProcessor
from operando.streamer.config import load_settings
from operando.streamer.core.results import Ledger
from operando.streamer.core.run import RunState
from operando.streamer.errors import CheckpointError
from operando.streamer.io.checkpoint import Blobs, decode, encode
from operando.streamer.io.checkpoint.files import pack_tree, unpack_tree
from operando.streamer.io.checkpoint.schema import SCHEMA, Schema
from operando.streamer.lab.simulate import SimSettings, simulate_documents

WRITTEN = Path(__file__).with_name("schema.json")
ANEW = "write it anew: python tests/streamer/io/checkpoint/test_schema.py"


def written(schema):
    return {"version": schema.version, "classes": schema.describe()}


def changes(before, schema):
    """What has changed since a schema was written, and what to do about it; a line each."""
    if before["version"] != schema.version:
        return [f"schema.json is of version {before['version']}, not {schema.version}: {ANEW}"]
    now, lines = schema.describe(), []
    for old, fields in before["classes"].items():
        tag = schema.renamed.get(old, old)
        if tag not in now:
            lines.append(f"{old} is gone: name it in `renamed`, or raise `version` and {ANEW}")
            continue
        for name, kind in fields.items():
            kind = re.sub(r"\w+", lambda word: schema.renamed.get(word[0], word[0]), kind)
            found = now[tag].get(name)
            if found != kind:
                lines.append(f"{tag}.{name} was {kind}, is {found}: raise `version` and {ANEW}")
        for name in now[tag].keys() - fields.keys():
            if name not in schema.added.get(tag, {}) and now[tag][name] != "member":
                lines.append(
                    f"{tag}.{name} is new: say in `added` what it was in checkpoints that were "
                    f"written before, or raise `version` and {ANEW}"
                )
    return lines


def test_classes_are_as_they_were_when_the_schema_was_written():
    assert "\n".join(changes(json.loads(WRITTEN.read_text()), SCHEMA)) == ""


class Colour(StrEnum):
    RED = "r"


@dataclass(frozen=True)
class Leaf:
    colour: Colour
    size: int


@dataclass(frozen=True)
class Tree:
    leaves: tuple[Leaf, ...]


@dataclass(frozen=True)
class Foliage:
    """The leaf under another name, with a field more."""

    colour: Colour
    size: int
    age: float


@dataclass(frozen=True)
class Bush:
    """The tree under another name."""

    leaves: tuple[Foliage, ...]


OLD = Schema(version=1, roots=(Tree,))
RENAMED = {"Tree": "Bush", "Leaf": "Foliage"}
NEW = Schema(version=1, roots=(Bush,), renamed=RENAMED, added={"Foliage": {"age": 2.5}})
TREE = Tree((Leaf(Colour.RED, 1), Leaf(Colour.RED, 2)))


def test_a_class_that_has_another_name_and_another_field_stays_readable():
    assert changes(written(OLD), NEW) == []
    made = decode(encode(TREE, schema=OLD), schema=NEW)
    assert made == Bush((Foliage(Colour.RED, 1, 2.5), Foliage(Colour.RED, 2, 2.5)))
    again = decode(encode(made, schema=NEW), schema=NEW)
    assert again == made


@pytest.mark.parametrize(
    ("schema", "told"),
    [
        (replace(NEW, added={}), ["Foliage.age is new: say in `added`"]),
        (replace(NEW, renamed={"Tree": "Bush"}), ["Leaf is gone: name it", "Bush.leaves was"]),
        (replace(NEW, version=2), ["schema.json is of version 1, not 2"]),
    ],
    ids=["field", "name", "version"],
)
def test_what_would_be_lost_is_told_with_what_to_do(schema, told):
    lines = changes(written(OLD), schema)
    assert [line.startswith(start) for line, start in zip(lines, told, strict=True)]
    assert all(ANEW in line for line in lines)


@pytest.mark.parametrize("missing", [{"added": {}}, {"renamed": {}}])
def test_nothing_is_silently_absent_or_dropped(missing):
    with pytest.raises(CheckpointError, match=r"other fields now: age|does not know"):
        decode(encode(TREE, schema=OLD), schema=replace(NEW, **missing))
    with pytest.raises(CheckpointError, match="other fields now: age"):
        decode(
            encode(Foliage(Colour.RED, 1, 1.0), schema=NEW),
            schema=replace(OLD, renamed={"Foliage": "Leaf"}),
        )


def test_two_classes_of_one_name_are_told_apart():
    twin = type("Ledger", (Leaf,), {})
    with pytest.raises(TypeError, match="two classes are called Ledger"):
        _ = Schema(version=1, roots=(Ledger, twin)).classes
    assert Schema(version=1, roots=(Ledger, twin), tags={twin: "Twin"}).classes["Twin"] is twin


@contextmanager
def moved(cls, name):
    """Give a class another name in another module."""
    before = cls.__name__, cls.__module__
    sys.modules[f"operando.{name}"] = sys.modules[cls.__module__]
    cls.__name__, cls.__module__ = name, f"operando.{name}"
    try:
        yield
    finally:
        cls.__name__, cls.__module__ = before
        del sys.modules[f"operando.{name}"]


def test_a_run_goes_on_after_a_class_of_its_state_was_renamed_and_moved(tmp_path):
    scan = SimSettings(
        shape=(120, 120), n_particles=2, radius_px=(12, 15), energies=(8370.0, 8380.0, 8390.0)
    )
    documents = list(simulate_documents(scan, order="flat_last"))
    half = len(documents) // 2
    settings, blobs = load_settings(None), Blobs(tmp_path)

    def go_on(processor, rest):
        results = []
        processor.subscribe(lambda name, doc: results.append((name, doc)))
        for name, doc in rest:
            processor(name, doc)
        processor.close()
        places = [d["data"]["y"] for n, d in results if n == "event" and "y" in d["data"]]
        return places, results[-1][1]["ledger"]

    before = StreamProcessor(settings)
    before.process(documents[:half])
    data = pack_tree(encode(before.snapshot(blobs), blobs))
    expected = go_on(before, documents[half:])

    with moved(Ledger, "Accounts"), moved(RunState, "OpenRun"):
        after = StreamProcessor(settings)
        with pytest.raises(CheckpointError, match="does not know"):
            decode(
                unpack_tree(data), "cpu", blobs, Schema(SCHEMA.version, SCHEMA.roots, SCHEMA.tags)
            )
        schema = replace(SCHEMA, renamed={"Ledger": "Accounts", "RunState": "OpenRun"})
        after.restore(decode(unpack_tree(data), "cpu", blobs, schema), blobs)
        assert go_on(after, documents[half:]) == expected
    assert expected[1]["balanced"]


if __name__ == "__main__":
    WRITTEN.write_text(json.dumps(written(SCHEMA), indent=1) + "\n")
