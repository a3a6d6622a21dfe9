"""The course of a training as a table: log.csv."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path

from ..errors import TrainingError

LOSSES = ("loss", "clean", "mask", "cycle", "identity", "fooled", "judged")
SCORES = (
    "quality",
    "iou",
    "hit",
    "false",
    "f1",
    "precision",
    "recall",
    "centre",
    "held_out_loss",
)
COLUMNS: tuple[str, ...] = ("phase", "step", "rate", "seconds", *LOSSES, *SCORES)


class Log:
    """Rows of `COLUMNS`; each is in the file as soon as it is written.

    Parameters
    ----------
    path : file; one that is there is replaced.
    keep : phase and step up to which rows of an existing file are kept: it may hold later ones,
        written after the checkpoint that is gone on with.
    phases : names of all phases in their order.
    """

    def __init__(
        self, path: Path, phases: tuple[str, ...], keep: tuple[str, int] | None = None
    ) -> None:
        rows = _before(path, phases, keep) if keep is not None and path.exists() else []
        self._file = path.open("w", newline="")
        self._writer = csv.DictWriter(self._file, COLUMNS)
        self._writer.writeheader()
        self._writer.writerows(rows)

    def write(
        self, phase: str, step: int, rate: float, seconds: float, values: Mapping[str, float]
    ) -> None:
        """Append a row; what `values` does not name stays empty."""
        row = {name: f"{value:.6g}" for name, value in values.items()}
        when = {"phase": phase, "step": step, "rate": f"{rate:.6g}", "seconds": f"{seconds:.1f}"}
        self._writer.writerow(when | row)
        self._file.flush()

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def _before(path: Path, phases: tuple[str, ...], last: tuple[str, int]) -> list[dict[str, str]]:
    """Rows that are not later than a phase and step."""
    limit = (phases.index(last[0]), last[1])
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    try:
        return [row for row in rows if (phases.index(row["phase"]), int(row["step"])) <= limit]
    except (KeyError, ValueError) as error:
        raise TrainingError(
            f"{path}: wanted the log of the training that is resumed, got {error}; move it away"
        ) from error
