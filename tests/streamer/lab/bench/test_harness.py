"""Tables, files, progress and rows, written once for all benches."""

from __future__ import annotations

import json
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pytest

from operando.streamer.lab.bench.harness import (
    Column,
    Report,
    ResultRows,
    Table,
    lines_of,
    new_figure,
    plain,
    sample_events,
    show,
    tracked,
    versions,
)

TABLE = Table(
    "rms",
    (Column("name", "method"), Column("rms", "rms, px", ".2f")),
    [{"name": "ours", "rms": 0.125}, {"name": "theirs", "rms": float("nan")}, {"name": "none"}],
    group="name",
)


def test_a_table_as_markdown():
    lines = TABLE.markdown().splitlines()
    assert lines[:2] == ["| method | rms, px |", "| --- | ---: |"]
    assert lines[2:] == ["| ours | 0.12 |", "| theirs | - |", "| none | - |"]


def test_a_table_is_not_cut_in_a_pipe(capsys):
    columns = [Column(f"c{n}", f"a column of some width {n}") for n in range(8)]
    show(Table("wide", columns, [{f"c{n}": "x" for n in range(8)}]), "a line", TABLE)
    told = capsys.readouterr().out
    assert all(column.head in told for column in columns)
    assert "a line" in told
    assert "0.12" in told


def test_files_of_a_report(tmp_path):
    rows = pd.DataFrame({"rms": [0.125]})
    report = Report(
        name="some",
        figures={"rms": np.float64("nan"), "ids": np.arange(2), "many": (1, float("inf"))},
        rows=rows,
        markdown=["# Title", TABLE],
        picture=new_figure(2, 1, "title"),
    )
    paths = report.write(tmp_path / "new")
    assert [path.name for path in paths] == ["some.json", "some.md", "some.csv", "some.png"]
    assert json.loads(paths[0].read_text()) == {"rms": None, "ids": [0, 1], "many": [1, None]}
    assert paths[1].read_text().startswith("# Title\n| method |")
    pd.testing.assert_frame_equal(pd.read_csv(paths[2]), rows)
    assert Report(name="empty").write(tmp_path) == []


def test_progress_is_told_for_each_and_never_beyond_all():
    told = []
    items = tracked("abc", lambda *step: told.append(step), "letters", 3, start=1)
    assert list(items) == ["a", "b", "c"]
    assert told == [("letters", 2, 3), ("letters", 3, 3), ("letters", 3, 3)]


@dataclass(frozen=True)
class Figures:
    rate: float
    memory: int
    ledger: dict[str, int]


def test_figures_line_by_line():
    figures = Figures(2.0, 12_500_000, {"aligned": 3})
    assert [line.split()[1:] for line in lines_of(figures)] == [
        ["2.000"],
        ["12.5", "MB"],
        ["3", "aligned"],
    ]
    assert plain(figures) == {"rate": 2.0, "memory": 12_500_000, "ledger": {"aligned": 3}}


def test_rows_of_a_run(result_documents):
    rows = ResultRows()
    rows.offset = 100
    for name, doc in result_documents:
        rows(name, doc)
    assert set(rows.table("frames")["frame"]) == set(range(100, 108))
    assert "roi" not in rows.table("particles")
    assert rows.table("nothing").empty
    assert {"frame", "particle", "y", "x"} <= set(rows.table("nothing"))
    assert rows.ledgers[0]["balanced"]


def test_sample_events_are_those_of_the_primary_stream():
    documents = [
        ("start", {"uid": "r"}),
        ("descriptor", {"uid": "a", "name": "dark"}),
        ("descriptor", {"uid": "b", "name": "primary"}),
        ("event", {"descriptor": "a"}),
        ("event", {"descriptor": "b"}),
    ]
    assert sample_events(documents) == [4]


def test_a_package_that_is_not_there_has_no_version():
    found = versions("numpy", "no-such-package")
    assert found["numpy"] == np.__version__
    assert found["no-such-package"] == ""
    assert found["operando"]


@pytest.mark.parametrize(("value", "text"), [(3, "3"), (None, "-"), (1.5, "1.5"), ("a", "a")])
def test_a_column_without_a_form_takes_all(value, text):
    assert Column("key", "head").text(value) == text
