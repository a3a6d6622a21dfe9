"""``operando bench paper``: the published comparison, repeated."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .options import Device

if TYPE_CHECKING:
    from ..bench.paper.runner import PaperResult
    from ..config import Settings

_PEERS = (
    "absolute_template",
    "absolute_correlation",
    "relative_template",
    "relative_correlation",
    "sift_affine",
    "flow_tvl1",
    "flow_ilk",
)
_LEAST_WIDTH = 190


def paper(
    quick: Annotated[
        bool, typer.Option("--quick", help="20 projections in place of 143, fewer to time.")
    ] = False,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the simulator.")] = 0,
    peers: Annotated[bool, typer.Option(help="Also run other methods on the same frames.")] = True,
    speed: Annotated[bool, typer.Option(help="Also look at the clock: 100 frames.")] = True,
    profile: Annotated[str, typer.Option(help="Settings of the processor.")] = "sim_txm",
    device: Device = None,
    threads: Annotated[
        int | None, typer.Option(min=0, help="Threads; 0: half of the cores.", show_default=False)
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--output",
            "--out",
            metavar="DIR",
            help="Write paper.md, paper.csv and paper.png there.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """The comparison of Su et al. 2024 on a synthetic set as they describe theirs."""
    from rich.console import Console
    from rich.progress import Progress

    from ..bench.paper import published
    from ..bench.paper.report import write_report
    from ..bench.paper.runner import run_paper
    from ..bench.paper.synthetic import QUICK, paper_set
    from ..bench.peers import make_peer

    console = Console(stderr=True)
    ways, left_out = _ways(profile, device, threads)
    others = {name: make_peer(name) for name in _PEERS} if peers else {}
    frames = QUICK if quick else published.SPEED_FRAMES
    with Progress(console=console) as bar:
        task = bar.add_task("simulating", total=1.0)
        result = run_paper(
            paper_set(seed, quick=quick),
            ways,
            others,
            left_out,
            lambda what, share: bar.update(task, completed=share, description=what),
            speed_frames=frames if speed else 0,
        )
    _show(result)
    if output is not None:
        for path in write_report(result, output, quick=quick):
            console.print(f"wrote {path}", highlight=False)


def _ways(
    profile: str, device: str | None, threads: int | None
) -> tuple[dict[str, Settings], dict[str, str]]:
    """Settings of the ways of ours that can run, and why the others cannot."""
    from ..bench.paper.ways import WAYS, missing
    from ..errors import ConfigError

    process: dict[str, Any] = {"device": device, "threads": threads}
    process = {key: value for key, value in process.items() if value is not None}
    settings = {way.name: way.settings(profile, process) for way in WAYS}
    left_out = {name: why for name, one in settings.items() if (why := missing(one))}
    if len(left_out) == len(settings):
        raise ConfigError(next(iter(left_out.values())))
    return {n: one for n, one in settings.items() if n not in left_out}, left_out


def _show(result: PaperResult) -> None:
    from rich.console import Console
    from rich.table import Table

    from ..bench.paper.columns import TERMINAL
    from ..bench.paper.table import head, remarks, rows

    table = Table(title="beside Su et al. 2024", title_justify="left")
    for number, name in enumerate(head(TERMINAL)):
        table.add_column(name, justify="right" if number else "left", no_wrap=True)
    for row in rows(result, TERMINAL):
        table.add_row(*row)
    console = Console()
    # a pipe has 80 columns, in which nothing of this could be read
    Console(width=max(console.width, _LEAST_WIDTH)).print(table)
    for line in remarks(result):
        console.print(f"- {line}", highlight=False)
