"""``operando bench dashboard``: what viewers see and what they cost."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console


def dashboard(
    rate: Annotated[float, typer.Option(min=0.1, help="Sample frames per second.")] = 5.0,
    seconds: Annotated[float, typer.Option(min=5, help="How long.")] = 40.0,
    viewers: Annotated[int, typer.Option(min=1, help="Pages open on the run.")] = 3,
    preset: Annotated[str, typer.Option(help="What is simulated.")] = "paper",
    picture: Annotated[
        Path | None, typer.Option(help="Also save a picture of the page (PNG).")
    ] = None,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="Also write the figures as JSON.")
    ] = None,
) -> None:
    """The same run without and with a dashboard whose pages are open in headless Chromium.

    All processes share this machine, the browser too. Needs Chromium and operando[browser].
    """
    import tempfile
    from dataclasses import asdict

    from rich.progress import Progress

    from ..bench.dashboard import measure_dashboard
    from ..bench.stream import prepare_documents

    console = Console(stderr=True)
    count = round(rate * seconds)
    figures = {}
    with Progress(console=console) as bar:
        task = bar.add_task("rendering", total=2 * count + 1)
        documents = prepare_documents(preset, count, lambda: bar.advance(task))
        for number in (0, viewers):
            task = bar.add_task(f"{rate:g} frames/s, {number} viewers", total=count)
            with tempfile.TemporaryDirectory(prefix="operando-bench-") as folder:
                figures[number] = measure_dashboard(
                    documents,
                    rate,
                    number,
                    Path(folder),
                    lambda task=task: bar.advance(task),
                    picture,
                )
    out = Console(width=200)
    for number, found in figures.items():
        out.print(
            f"{number} viewers: {found.rate:.2f} results/s, latency p50 {found.latency_p50:.3f} s, "
            f"p95 {found.latency_p95:.3f} s; Tiled took {100 * found.tiled_cpu:.0f} % of a core; "
            f"load {found.load:.1f} on {found.cores} cores",
            highlight=False,
        )
    seen = figures[viewers].seen
    assert seen is not None
    change = figures[viewers].rate / figures[0].rate - 1
    first = ", ".join(f"{value:.2f}" for value in seen.first_picture)
    out.print(f"frame rate of the processor with viewers: {100 * change:+.1f} %", highlight=False)
    out.print(f"first picture after {first} s", highlight=False)
    out.print(
        f"shown after the frame: p50 {seen.delay_p50:.2f} s, p95 {seen.delay_p95:.2f} s, longest "
        f"{seen.delay_max:.2f} s; after its result: p50 {seen.after_p50:.2f} s, p95 "
        f"{seen.after_p95:.2f} s; {seen.updates:.1f} pictures/s; the dashboard took "
        f"{100 * seen.cpu:.0f} % of a core",
        highlight=False,
    )
    if output is not None:
        output.write_text(json.dumps({n: asdict(f) for n, f in figures.items()}, indent=2))
