"""``operando bench``: measured speed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from .options import Device, Profile

app = typer.Typer(no_args_is_help=True, help="Measure speed on this machine.")

_CASES = {"460x460, 9 particles": "paper", "2048x2048, 20 particles": "large_2048"}


@app.command()
def pipeline(
    frames: Annotated[int, typer.Option(min=3, help="Frames per case.")] = 40,
    profile: Profile = None,
    device: Device = None,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="Also write the figures as JSON.")
    ] = None,
) -> None:
    """Median time per frame and stage of the core, one frame at a time, in one process."""
    from rich.progress import Progress
    from rich.table import Table

    from ..bench.stages import time_stages
    from ..simulate import PRESETS, preset, simulate_documents
    from .sinks import settings_of, use_threads

    console = Console(stderr=True)
    settings = settings_of(profile, device)
    use_threads(settings)
    figures = {}
    with Progress(console=console) as bar:
        for label, name in _CASES.items():
            task = bar.add_task(label, total=frames)
            energies = min(frames, 143)
            simulated = preset(name, n_energies=energies) if name in PRESETS else None
            stream = simulate_documents(simulated, order="flat_first")
            times, particles = time_stages(stream, settings, lambda t=task: bar.advance(t))
            figures[label] = {"particles": particles, "ms": times.medians()}
    table = Table(title=f"median ms per frame ({settings.process.device})", title_justify="left")
    table.add_column("stage")
    for label in figures:
        table.add_column(label, justify="right")
    stages = list(next(iter(figures.values()))["ms"])
    for stage in stages:
        table.add_row(stage, *(f"{f['ms'][stage]:.1f}" for f in figures.values()))
    table.add_section()
    table.add_row("total", *(f"{sum(f['ms'].values()):.1f}" for f in figures.values()))
    Console().print(table)
    if output is not None:
        output.write_text(json.dumps(figures, indent=2))
        console.print(f"wrote {output}", highlight=False)
