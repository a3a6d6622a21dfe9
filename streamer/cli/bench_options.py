"""Options and progress that several benches share."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.progress import Progress as ProgressBars
from rich.progress import TaskID

from .terminal import console, say

if TYPE_CHECKING:
    from ..lab.bench.harness import Progress, Table

Regimes = Annotated[
    list[str] | None,
    typer.Option("--regime", help="Only this regime; repeat for more.", show_default=False),
]
Quick = Annotated[
    bool, typer.Option("--quick", help="20 projections in place of 143, fewer to time.")
]
Seed = Annotated[int, typer.Option(min=0, help="Seed of the simulator.")]
Peers = Annotated[bool, typer.Option(help="Also run other methods on the same frames.")]
SimProfile = Annotated[str, typer.Option("--profile", help="Settings of the processor.")]
Preset = Annotated[str, typer.Option(help="What is simulated.")]
Threads = Annotated[
    int | None, typer.Option(min=0, help="Threads; 0: half of the cores.", show_default=False)
]
JsonFile = Annotated[
    Path | None, typer.Option("-o", "--output", help="Also write the figures as JSON.")
]


def finish(figures: Any, output: Path | None, *shown: Table | str) -> None:
    """Show tables and lines, else the figures themselves, and write them if that is wanted."""
    from ..lab.bench.harness import lines_of, show, write_json

    show(*(shown or lines_of(figures)))
    if output is not None:
        write_json(figures, output)
        say(f"wrote {output}")


def folder(text: str, *more: str) -> Any:
    """Make the option for a folder of results; `more` are further names of it."""
    names = ("-o", "--output", *more)
    return typer.Option(*names, metavar="DIR", help=text, show_default=False)


class Bars(ProgressBars):
    """Progress of a bench on standard error: a bar for each thing that goes on."""

    def __init__(self) -> None:
        super().__init__(console=console())
        self._bars: dict[str, TaskID] = {}

    def __call__(self, what: str, done: float, of: float) -> None:
        """Show how much is done of one thing."""
        if what not in self._bars:
            self._bars[what] = self.add_task(what)
        self.update(self._bars[what], completed=done, total=of)

    def one(self, label: str) -> Progress:
        """Make a single bar, in which the things follow each other."""
        bar = self.add_task(label)

        def progress(what: str, done: float, of: float) -> None:
            text = f"{label}: {what}" if label else what
            self.update(bar, description=text, completed=done, total=of)

        return progress
