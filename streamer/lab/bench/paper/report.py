"""The comparison as files."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path

from ..columns import PAPER_COLUMNS, Figure
from .figure import draw
from .runner import PaperResult
from .series import NAME, PEAK_RATIO, SIMILARITY, SPEED_SECONDS

_PUBLISHED: Mapping[str, str] = {
    "ssim_one": f"{SIMILARITY:.4f}",
    "seconds": f"< {SPEED_SECONDS:.0f}",
}
_SURE_RECALL = 0.9


def write_report(result: PaperResult, folder: Path, *, quick: bool) -> list[Path]:
    """Write ``paper.md``, ``paper.csv`` and ``paper.png``.

    Parameters
    ----------
    result : of the bench. folder : is made if need be. quick : told in the heading.

    Returns
    -------
    Their paths.
    """
    folder.mkdir(parents=True, exist_ok=True)
    kind = "quick" if quick else "full"
    seed = result.series.simulator.settings.seed
    title = f"operando {version('operando')} beside Su et al. 2024 ({kind}, seed {seed})"
    paths = [folder / f"paper.{suffix}" for suffix in ("md", "csv", "png")]
    paths[0].write_text(markdown(result, title))
    paths[1].write_text(as_csv(result))
    draw(result, title).savefig(paths[2], dpi=110)
    return paths


# The one table: rows of text for a terminal, Markdown and CSV.


def head(columns: Sequence[Figure] = PAPER_COLUMNS) -> list[str]:
    """Heading of the table."""
    return ["method", *(column.head for column in columns)]


def rows(result: PaperResult, columns: Sequence[Figure] = PAPER_COLUMNS) -> Iterator[list[str]]:
    """What is published, then each method, under :func:`head`."""
    yield [NAME, *(_PUBLISHED.get(column.key, "-") for column in columns)]
    for name, figures in result.figures.items():
        yield [name, *(column.text(figures.get(column.key)) for column in columns)]


def as_csv(result: PaperResult) -> str:
    """All figures to full precision, by key; empty where there is none."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    keys = ["method", *dict.fromkeys(k for f in result.figures.values() for k in f)]
    writer.writerow(keys)
    writer.writerow([NAME, *(_PUBLISHED.get(key, "") for key in keys[1:])])
    for name, figures in result.figures.items():
        writer.writerow([name, *(_number(figures.get(key)) for key in keys[1:])])
    return out.getvalue()


def markdown(result: PaperResult, title: str) -> str:
    """The table with what it takes to read it."""
    settings = result.series.simulator.settings
    grid = [head(), ["---", *("---:" for _ in PAPER_COLUMNS)], *rows(result)]
    return "\n".join(
        [
            f"# {title}",
            "",
            *(f"| {' | '.join(cells)} |" for cells in grid),
            "",
            *(f"- {line}" for line in remarks(result)),
            "",
            "## Columns",
            *(f"- {column.head}: {column.meaning}" for column in PAPER_COLUMNS),
            "",
            "## Simulated with",
            "```json",
            settings.model_dump_json(indent=1),
            "```",
            "",
        ]
    )


def remarks(result: PaperResult) -> Iterator[str]:
    """What must be known to read the table."""
    series, figures = result.series, result.figures
    truth = series.truth
    y, x = result.ratio
    yield (
        f"{truth.n_frames} projections of {truth.shape[0]} x {truth.shape[1]} px, "
        f"{truth.n_particles} particles, seed {series.simulator.settings.seed}; * is particle "
        f"{result.particle}, of median size among those that move by themselves. The paper's "
        "figure is of its particle 2, of a set that is not published: the two sets differ in all "
        "that the paper does not tell (motion in px, noise, sizes, contrast)."
    )
    yield (
        f"Peak motion from frame to frame, non-rigid over rigid: {y:.2f} vertical, {x:.2f} "
        f"horizontal (published: {PEAK_RATIO[0]} and {PEAK_RATIO[1]}; in px "
        "nothing is published)."
    )
    yield (
        "SSIM: Wang et al. 2004, Gaussian window 11 x 11 of sigma 1.5, K 0.01 and 0.03, range 1 OD "
        "(the paper's equation 1 is misprinted, its constants are not given), of the ROIs of 2.8 "
        "radii in adjacent frames, cut at the measured positions. Noise lowers it whatever the "
        "alignment, and interpolation between pixels, which smooths noise, raises it: compare with "
        "the row of the oracle, and see 'clean', the same positions on frames without noise. "
        "Adjacent pairs do not see an error that grows slowly: see 'far'."
    )
    yield (
        "Position error: distance from the truth, one constant offset per particle removed, "
        "whatever its size. The paper gives none. Peers are told the true positions in one frame "
        "above the edge; their time is that of registration alone."
    )
    yield from (f"left out: {name}: {_first_line(why)}" for name, why in result.left_out.items())
    yield from result.notes
    worse = [n for n, f in figures.items() if f.get("recall", 1.0) < _SURE_RECALL]
    if worse:
        yield f"followed less than nine in ten instances, so that errors may flatter: {worse}"


def _first_line(text: str) -> str:
    return " ".join(text.split())


def _number(value: float | None) -> str:
    return "" if value is None or not math.isfinite(value) else repr(value)
