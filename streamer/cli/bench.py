"""``operando bench``: measured speed and accuracy."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from .bench_loop import dashboard, recenter
from .bench_quality import accuracy, chemistry, detection, paper, real
from .bench_system import crash, overload, soak
from .options import Device, Profile

app = typer.Typer(no_args_is_help=True, help="Measure speed and accuracy on this machine.")

app.command()(accuracy)

app.command()(chemistry)

app.command()(crash)

app.command()(dashboard)

app.command()(detection)

app.command()(overload)

app.command()(paper)

app.command()(real)

app.command()(recenter)

app.command()(soak)

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
    """Time per frame and stage of the core, one frame at a time, in one process."""
    from rich.progress import Progress
    from rich.table import Table

    from ...models.device import bounded_threads
    from ..lab.bench.stages import time_stages
    from ..lab.simulate import PRESETS, preset, simulate_documents
    from .outputs import settings_of

    console = Console(stderr=True)
    settings = settings_of(profile, device)
    figures = {}
    with Progress(console=console) as bar:
        for label, name in _CASES.items():
            task = bar.add_task(label, total=frames)
            energies = min(frames, 143)
            simulated = preset(name, n_energies=energies) if name in PRESETS else None
            stream = simulate_documents(simulated, order="flat_first")
            with bounded_threads(settings.process.thread_count):
                times, particles = time_stages(stream, settings, lambda t=task: bar.advance(t))
            figures[label] = {
                "particles": particles,
                "ms": times.medians(),
                "mean_ms": times.means(),
            }
    title = f"median (mean) ms per frame ({settings.process.device})"
    table = Table(title=title, title_justify="left")
    table.add_column("stage")
    for label in figures:
        table.add_column(label, justify="right")
    stages = list(next(iter(figures.values()))["ms"])
    for stage in stages:
        pairs = ((f["ms"][stage], f["mean_ms"][stage]) for f in figures.values())
        table.add_row(stage, *(f"{median:.1f} ({mean:.1f})" for median, mean in pairs))
    table.add_section()
    sums = ((sum(f["ms"].values()), sum(f["mean_ms"].values())) for f in figures.values())
    table.add_row("total", *(f"{median:.1f} ({mean:.1f})" for median, mean in sums))
    Console().print(table)
    if output is not None:
        output.write_text(json.dumps(figures, indent=2))
        console.print(f"wrote {output}", highlight=False)


@app.command()
def stream(
    rate: Annotated[float, typer.Option(min=0.1, help="Sample frames per second.")] = 10.0,
    seconds: Annotated[float, typer.Option(min=1, help="How long.")] = 120.0,
    preset: Annotated[str, typer.Option(help="What is simulated.")] = "paper",
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="Also write the figures as JSON.")
    ] = None,
) -> None:
    """End to end through 0MQ and Tiled at a fixed rate, all processes on this machine."""
    import tempfile
    from dataclasses import asdict

    from rich.progress import Progress

    from ..lab.bench.stream import measure_stream, prepare_documents

    console = Console(stderr=True)
    count = round(rate * seconds)
    with (
        tempfile.TemporaryDirectory(prefix="operando-bench-") as folder,
        Progress(console=console) as bar,
    ):
        task = bar.add_task("rendering", total=2 * count + 1)
        documents = prepare_documents(preset, count, lambda: bar.advance(task))
        task = bar.add_task(f"publishing at {rate:g}/s", total=count)
        figures = measure_stream(documents, rate, Path(folder), lambda: bar.advance(task))
    for key, value in asdict(figures).items():
        text = f"{value:.3f}" if isinstance(value, float) else str(value)
        Console().print(f"{key:12} {text}", highlight=False)
    if output is not None:
        output.write_text(json.dumps(asdict(figures), indent=2))
