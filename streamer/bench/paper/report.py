"""The comparison as files."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path

from .figure import draw
from .runner import PaperResult
from .table import as_csv, markdown


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
