"""The figures as Markdown, and as rows for a terminal."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from .columns import COLUMNS, IDENTITY, POSITION, Column
from .estimates import ORACLE_STARTED, OURS
from .runner import RegimeResult

_SURE_RECALL = 0.9

_NOTES = (
    "Position errors are rms distances in px, over the instances that lie within half a radius of "
    "their particle (see recall), but for the column ungated. Peers are given the true positions "
    "in one frame above the edge; those under 'from truth' in every frame, to refine.",
)

SUMMARY_HEAD = (
    "regime",
    "provisional",
    "final",
    "below",
    "at",
    "above",
    "step",
    "within/CRB",
    "NEES above",
    "recall",
    "false",
    "switches",
    "best peer",
    "best from truth",
)


def summary_rows(results: Iterable[RegimeResult]) -> list[list[str]]:
    """One row of text per regime, under :data:`SUMMARY_HEAD`."""
    keys = ("below", "at", "above", "step", "crb_within", "nees_above", "recall")
    keys = (*keys, "false_per_frame", "switches")
    by_key = {column.key: column for column in COLUMNS}
    rows = []
    for result in results:
        first, final = (result.figures[name] for name in OURS)
        rms = [by_key["rms"].text(found.get("rms")) for found in (first, final)]
        rest = [by_key[key].text(final.get(key)) for key in keys]
        best = [_named(result, best_peer(result, from_truth=flag)) for flag in (False, True)]
        rows.append([result.regime.name, *rms, *rest, *best])
    return rows


def best_peer(result: RegimeResult, *, from_truth: bool = False) -> str | None:
    """Name the peer of smallest rms among those that followed nine in ten instances.

    Parameters
    ----------
    result : of a regime.
    from_truth : among those that start from the true position in every frame, else the others.
    """
    able = {
        name: figures["rms"]
        for name, figures in result.figures.items()
        if name not in OURS
        and (name in ORACLE_STARTED) == from_truth
        and figures.get("recall", 0.0) >= _SURE_RECALL
    }
    return min(able, key=lambda name: able[name]) if able else None


def _named(result: RegimeResult, name: str | None) -> str:
    return "-" if name is None else f"{result.figures[name]['rms']:.3f} ({name})"


def markdown(results: Sequence[RegimeResult], title: str) -> str:
    """Write a summary, all figures of each regime, and what the columns mean."""
    parts = [f"# {title}", *_NOTES, ""]
    parts += _grid(SUMMARY_HEAD, summary_rows(results))
    for result in results:
        regime = result.regime
        parts += ["", f"## {regime.name}", f"{regime.description}; {result.scale}.", ""]
        for columns in (POSITION, IDENTITY):
            head = ["estimator", *(column.head for column in columns)]
            parts += [*_grid(head, _rows(result, columns)), ""]
        parts += [f"- {name} failed: {why}" for name, why in result.failures.items()]
    parts += ["", "## Columns", *(f"- {c.head}: {c.meaning}" for c in COLUMNS)]
    return "\n".join(parts) + "\n"


def _rows(result: RegimeResult, columns: Sequence[Column]) -> list[list[str]]:
    return [
        [name, *(column.text(figures.get(column.key)) for column in columns)]
        for name, figures in result.figures.items()
    ]


def _grid(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    def line(cells: Iterable[str]) -> str:
        return f"| {' | '.join(cells)} |"

    rule = ["---", *("---:" for _ in head[1:])]
    return [line(head), line(rule), *(line(row) for row in rows)]
