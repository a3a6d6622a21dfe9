"""``operando bench accuracy``: how far from the truth, beside other ways to register."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .options import Device

if TYPE_CHECKING:
    from ..bench.accuracy.regimes import Regime
    from ..bench.accuracy.runner import RegimeResult

_LEAST_WIDTH = 180


def accuracy(
    regime: Annotated[
        list[str] | None,
        typer.Option(help="Only this regime; repeat for more.", show_default=False),
    ] = None,
    quick: Annotated[bool, typer.Option("--quick", help="Fewer energies for each scan.")] = False,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the simulator.")] = 0,
    peers: Annotated[bool, typer.Option(help="Also run other methods on the same frames.")] = True,
    profile: Annotated[str, typer.Option(help="Settings of the processor.")] = "sim_txm",
    device: Device = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--output",
            metavar="DIR",
            help="Write accuracy.json, accuracy.md and accuracy.png there.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Position errors, identities and error bars against the truth of simulated scans."""
    from rich.console import Console
    from rich.progress import Progress

    from ..bench.accuracy.report import write_report
    from ..bench.accuracy.runner import run_regime
    from ..bench.peers import PEERS, make_peer
    from .sinks import settings_of

    console = Console(stderr=True)
    settings = settings_of(profile, device)
    chosen = _regimes(regime)
    others = {name: make_peer(name) for name in PEERS} if peers else {}
    results = []
    with Progress(console=console) as bar:
        for one in chosen:
            task = bar.add_task(one.name, total=1.0)
            simulated = one.settings(seed, quick=quick)
            results.append(
                run_regime(
                    one,
                    simulated,
                    settings,
                    others,
                    lambda what, share, t=task, name=one.name: bar.update(
                        t, completed=share, description=f"{name}: {what}"
                    ),
                )
            )
    _show(results)
    if output is not None:
        for path in write_report(results, output, settings, seed=seed, quick=quick):
            console.print(f"wrote {path}", highlight=False)


def _regimes(names: list[str] | None) -> list[Regime]:
    from ..bench.accuracy.regimes import REGIMES
    from ..errors import ConfigError

    for name in names or ():
        if name not in REGIMES:
            raise ConfigError(f"regime: got {name!r}; choose from {', '.join(REGIMES)}")
    return [REGIMES[name] for name in names or REGIMES]


def _show(results: list[RegimeResult]) -> None:
    from rich.console import Console
    from rich.table import Table

    from ..bench.accuracy.table import SUMMARY_HEAD, summary_rows

    table = Table(title="rms errors, px", title_justify="left")
    for head in SUMMARY_HEAD:
        table.add_column(head, justify="left" if head == SUMMARY_HEAD[0] else "right")
    for row in summary_rows(results):
        table.add_row(*row)
    console = Console()
    # a pipe has 80 columns, in which nothing of this could be read
    Console(width=max(console.width, _LEAST_WIDTH)).print(table)
