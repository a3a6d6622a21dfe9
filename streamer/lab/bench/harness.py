"""One way to measure and to tell: a bench makes figures, the rest of it is here.

Columns and tables (terminal, Markdown), files (JSON, CSV, Markdown, picture), progress, rows of a
result run, and facts about the machine.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import os
import platform
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import pandas as pd
from rich.console import Console
from rich.table import Table as TerminalTable

from ....callbacks.processor.processor import StreamProcessor
from ...config import Settings
from ...core.frames import Document, NamedDocument
from ...core.streams import Streams

if TYPE_CHECKING:
    from matplotlib.figure import Figure

T = TypeVar("T")
Progress = Callable[[str, float, float], None]
"""``progress(what, done, of)``: what goes on, and how much of how much of it is done."""
_WIDEST = 1000  # characters; wider than any table


def no_progress(what: str, done: float, of: float) -> None:
    """Ignore progress."""


def tracked(
    items: Iterable[T], progress: Progress, what: str, of: float, *, start: float = 0
) -> Iterator[T]:
    """Hand on items, and report each when the next one is asked for.

    Parameters
    ----------
    what : told with each. of : how many there are in all; more than that count as all.
    start : how many there were before.
    """
    for done, item in enumerate(items, 1):
        yield item
        progress(what, min(start + done, of), of)


@dataclass(frozen=True, slots=True)
class Column:
    """Column of a table.

    Attributes
    ----------
    key : of the value in a row. head : in the table.
    form : format of a number; empty for text, which stands to the left.
    meaning : one line for the legend.
    """

    key: str
    head: str
    form: str = ""
    meaning: str = ""

    def text(self, value: Any) -> str:
        """Write a value; a dash if there is none."""
        if value is None or (isinstance(value, float) and not math.isfinite(value)):
            return "-"
        return str(value) if isinstance(value, str) else format(value, self.form)


@dataclass(frozen=True, slots=True)
class Table:
    """Table for the terminal and for Markdown.

    Attributes
    ----------
    title : above it in the terminal. columns : in their order.
    rows : values by the keys of the columns. group : key whose values are set apart by a line.
    """

    title: str
    columns: Sequence[Column]
    rows: Sequence[Mapping[str, Any]]
    group: str = ""

    def cells(self) -> list[list[str]]:
        """Write all values."""
        return [[column.text(row.get(column.key)) for column in self.columns] for row in self.rows]

    def terminal(self) -> TerminalTable:
        """Lay out for a terminal."""
        table = TerminalTable(title=self.title, title_justify="left")
        for column in self.columns:
            justify = "right" if column.form else "left"
            table.add_column(column.head, justify=justify, no_wrap=True)
        for number, cells in enumerate(self.cells()):
            if number and self.group:
                before, now = (self.rows[n].get(self.group) for n in (number - 1, number))
                if before != now:
                    table.add_section()
            table.add_row(*cells)
        return table

    def markdown(self) -> str:
        """Lay out as Markdown."""
        rule = ["---:" if column.form else "---" for column in self.columns]
        lines = [[column.head for column in self.columns], rule, *self.cells()]
        return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def show(*parts: Table | str) -> None:
    """Print tables and lines; a pipe has 80 columns, in which no table could be read."""
    console = Console()
    for part in parts:
        if isinstance(part, str):
            console.print(part, highlight=False)
            continue
        table = part.terminal()
        width = Console(width=_WIDEST).measure(table).maximum
        Console(width=max(console.width, width)).print(table)


def lines_of(figures: Any) -> list[str]:
    """Write the fields of a dataclass, one a line."""
    values = {one.name: getattr(figures, one.name) for one in dataclasses.fields(figures)}
    return [f"{name:18} {_shown(value)}" for name, value in values.items()]


def _shown(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{one} {key}" for key, one in value.items())
    if isinstance(value, int) and value > 1_000_000:  # nothing but bytes is that many
        return f"{value / 1e6:.1f} MB"
    return f"{value:.3f}" if isinstance(value, float) else str(value)


def legend(columns: Iterable[Column]) -> list[str]:
    """Tell what the columns mean, as lines of Markdown."""
    return ["## Columns", *(f"- {column.head}: {column.meaning}" for column in columns)]


# Files.


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """Figures of a bench as files of one name in one folder; what is None is not written.

    Attributes
    ----------
    name : of the files. figures : everything that was measured, for the JSON.
    rows : for the CSV. markdown : tables and text. picture : of them.
    """

    name: str
    figures: Any = None
    rows: pd.DataFrame | None = None
    markdown: Sequence[Table | str] | None = None
    picture: Figure | None = None

    def write(self, folder: Path) -> list[Path]:
        """Write the files; the folder is made if need be. Returns their paths."""
        folder.mkdir(parents=True, exist_ok=True)
        paths: list[Path] = []

        def path(suffix: str) -> Path:
            paths.append(folder / f"{self.name}.{suffix}")
            return paths[-1]

        if self.figures is not None:
            write_json(self.figures, path("json"))
        if self.markdown is not None:
            parts = (p if isinstance(p, str) else p.markdown() for p in self.markdown)
            path("md").write_text("\n".join(parts) + "\n")
        if self.rows is not None:
            self.rows.to_csv(path("csv"), index=False)
        if self.picture is not None:
            self.picture.savefig(path("png"))
        return paths


def write_json(figures: Any, path: Path) -> None:
    """Write figures; what is no number becomes null."""
    path.write_text(json.dumps(plain(figures), indent=1, allow_nan=False) + "\n")


def plain(value: Any) -> Any:
    """Turn dataclasses, mappings and arrays into what JSON knows; NaN becomes None."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return plain(dataclasses.asdict(value))
    if isinstance(value, Mapping):
        return {key: plain(one) for key, one in value.items()}
    if isinstance(value, np.ndarray | np.generic):
        return plain(value.tolist())
    if isinstance(value, list | tuple):
        return [plain(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def new_figure(width: float, height: float, title: str = "", *, dpi: int = 110) -> Figure:
    """Make an empty figure, size in inches, that needs no display."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=dpi, layout="constrained")
    FigureCanvasAgg(figure)
    if title:
        figure.suptitle(title, fontsize=14)
    return figure


def show_image(axes: Any, image: Any, title: str = "", size: float = 10, **options: Any) -> Any:
    """Draw an image in grey from its 2 % to its 99.5 % level, or as the options say; no ticks."""
    if not options:
        low, high = np.nanpercentile(image, (2, 99.5))
        options = {"cmap": "gray", "vmin": low, "vmax": high}
    axes.set_title(title, fontsize=size)
    axes.set_xticks([])
    axes.set_yticks([])
    return axes.imshow(image, **options)


# Rows of a result run.


class ResultRows:
    """Subscriber of results that keeps their numbers, the latest maps and the ledgers.

    Attributes
    ----------
    ledgers : of the runs that have stopped. maps : newest row of the stream ``maps`` by particle.
    offset : added to the number of each frame that comes from now on.
    """

    def __init__(self) -> None:
        self.ledgers: list[dict[str, Any]] = []
        self.maps: dict[int, Document] = {}
        self.offset = 0
        self._streams = Streams()
        self._rows: dict[str, list[Document]] = {}

    def __call__(self, name: str, doc: Document) -> None:
        """Keep the row of an event, or the ledger of a stop document."""
        self._streams = self._streams.updated(name, doc)
        if name == "stop":
            self.ledgers.append(doc["ledger"])
        if name != "event":
            return
        stream, data = self._streams.of(doc)[1], doc["data"]
        if stream == "maps":
            self.maps[data["particle"]] = data
        row = {key: value for key, value in data.items() if not isinstance(value, np.ndarray)}
        if "frame" in row:
            row["frame"] += self.offset
        self._rows.setdefault(stream, []).append(row)

    def table(self, stream: str) -> pd.DataFrame:
        """Return the rows of a stream; those of a position, none of them, if nothing came."""
        columns = ("frame", "particle", "y", "x", "state", "revision")
        rows = self._rows.get(stream)
        return pd.DataFrame(rows) if rows else pd.DataFrame(dict.fromkeys(columns, np.zeros(0)))


def sample_events(documents: Sequence[NamedDocument]) -> list[int]:
    """Tell which documents of a run hold an image of the sample."""
    primary = {d["uid"] for n, d in documents if n == "descriptor" and d["name"] == "primary"}
    return [
        number
        for number, (name, doc) in enumerate(documents)
        if name == "event" and doc["descriptor"] in primary
    ]


def process(documents: Iterable[NamedDocument], settings: Settings) -> ResultRows:
    """Send runs through a processor document by document, as when they come live."""
    rows, processor = ResultRows(), StreamProcessor(settings)
    processor.subscribe(rows)
    for name, doc in documents:
        processor(name, doc)
    processor.close()
    return rows


# What was measured with, and where.


def versions(*packages: str) -> dict[str, str]:
    """Tell the versions of operando and of packages; empty where one is not installed."""
    found = {}
    for name in ("operando", *packages):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = ""
    return found


def fingerprint(*texts: str) -> str:
    """Hash what was simulated or set, SHA-256 in hexadecimal."""
    return hashlib.sha256("\n".join(texts).encode()).hexdigest()


def processor_settings(settings: Settings) -> dict[str, str]:
    """Tell the settings of the processor by name and hash."""
    return {"profile": settings.profile, "settings_sha256": settings.sha256}


def machine(device: str, threads: int) -> str:
    """Name the device, with the threads and how busy the machine is, in words."""
    import torch

    from ....models.device import resolve_device

    name = _processor_name()
    if resolve_device(device).type == "cuda":
        name = torch.cuda.get_device_name(resolve_device(device))
    cores, load = os.cpu_count() or 1, os.getloadavg()[0]
    return f"{name}, {threads} of {cores} cores' threads for torch, load {load:.1f} at the start"


def _processor_name() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
