"""``operando bench overload``: more than can be processed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console


def overload(
    options: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[-- OPTIONS]", help="Further options of operando process, after --."
        ),
    ] = None,
    seconds: Annotated[float, typer.Option(min=1, help="How long.")] = 60.0,
    factor: Annotated[float, typer.Option(min=0.1, help="Of what can be processed.")] = 2.0,
    queue_mb: Annotated[float, typer.Option(min=1, help="May wait in memory, MB.")] = 64.0,
    side: Annotated[int, typer.Option(min=64, help="Side of a frame, px.")] = 460,
    particles: Annotated[int, typer.Option(min=1, help="Particles in the frame.")] = 9,
    per_run: Annotated[int, typer.Option(min=2, help="Sample frames of a run.")] = 40,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="Also write the figures as JSON.")
    ] = None,
) -> None:
    """Publish faster than the service can process: its memory, its ledger, and how it recovers."""
    import tempfile
    from dataclasses import asdict

    from ..bench.overload import OverloadSettings, measure_overload
    from ..bench.recycled import Recycled
    from ..bench.soak import small_scan
    from ..errors import OperandoError

    console = Console(stderr=True)
    settings = OverloadSettings(
        seconds=seconds, factor=factor, queue_mb=queue_mb, options=options or ()
    )

    def say(text: str) -> None:
        console.print(text, highlight=False)

    with tempfile.TemporaryDirectory(prefix="operando-bench-") as folder:
        say("rendering")
        recycled = Recycled.render(small_scan(side, particles, per_run))
        say("measuring what can be processed")
        figures = measure_overload(recycled, settings, Path(folder), say)
    for key, value in asdict(figures).items():
        Console().print(f"{key:18} {_shown(value)}", highlight=False)
    if output is not None:
        output.write_text(json.dumps(asdict(figures), indent=2))
    if not figures.accounted:
        raise OperandoError("not every published frame stands in a ledger that balances")
    if figures.rss_most > figures.bound:
        raise OperandoError("the memory went beyond its bound")


def _shown(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{count} {book}" for book, count in value.items())
    if isinstance(value, int) and value > 1_000_000:
        return f"{value / 1e6:.1f} MB"
    return f"{value:.2f}" if isinstance(value, float) else str(value)
