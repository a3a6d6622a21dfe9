"""``operando bench soak``: whether anything grows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from ..bench.resources import Resources


def soak(
    frames: Annotated[int, typer.Option(min=100, help="Sample frames, in all.")] = 20_000,
    per_run: Annotated[int, typer.Option(min=2, help="Sample frames of a run.")] = 150,
    side: Annotated[int, typer.Option(min=64, help="Side of a frame, px.")] = 96,
    particles: Annotated[int, typer.Option(min=1, help="Particles in the frame.")] = 3,
    tiled: Annotated[
        bool, typer.Option("--tiled", help="Write the results to a real Tiled server as well.")
    ] = False,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="Also write the figures as JSON.")
    ] = None,
) -> None:
    """Many short runs through one service: what the process holds early on, and at the end."""
    import tempfile
    from contextlib import ExitStack
    from dataclasses import asdict

    from rich.progress import Progress

    from ...callbacks.processor import StreamProcessor
    from ...callbacks.sinks import BufferedSink
    from ..bench.recycled import Recycled
    from ..bench.soak import Ledgers, endless, measure_soak, small_scan
    from ..config import load_settings
    from ..operation.monitor import Monitor
    from ..service import Service
    from ..sources import make_source
    from ..tiled_server import EmbeddedTiled

    console = Console(stderr=True)
    recycled = Recycled.render(small_scan(side, particles, per_run))
    ledgers = Ledgers()
    with ExitStack() as stack:
        processor = StreamProcessor(load_settings("sim_txm"))
        stack.callback(processor.close)
        sink: BufferedSink
        if tiled:
            from ...callbacks.tiled_sink import TiledSink

            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="operando-soak-"))
            server = stack.enter_context(EmbeddedTiled(folder))
            sink = BufferedSink(TiledSink(server.uri))
        else:
            sink = BufferedSink(lambda _name, _doc: None)
        stack.callback(sink.close, 120.0)
        processor.subscribe(sink)
        source = make_source(
            "memory", documents=endless(recycled, frames), max_bytes=16 * side * side * 2
        )
        monitor = Monitor(source)
        processor.subscribe(monitor.results)
        processor.subscribe(ledgers)
        stack.enter_context(monitor.serving(("127.0.0.1", 0)))
        stack.enter_context(source)
        service = Service(source, monitor.watch(processor, {}))
        bar = stack.enter_context(Progress(console=console))
        task = bar.add_task("frames", total=frames)

        def progress(done: int, held: Resources | None) -> None:
            bar.update(task, completed=done)
            if held is not None:
                bar.console.print(
                    f"{done} frames: {held.rss / 1e6:.1f} MB, {held.descriptors} descriptors, "
                    f"{held.threads} threads",
                    highlight=False,
                )

        figures = measure_soak(
            lambda: -1 if source.exhausted else service.step(), frames, ledgers, progress
        )
        delivered = sink.flush(300.0)
        counts = sink.counts
    table = Table(title="held by the process", title_justify="left")
    for column in ("", "after a tenth", "at the end"):
        table.add_column(column, justify="right" if column else "left")
    warm, end = figures.warm, figures.end
    table.add_row("resident memory, MB", f"{warm.rss / 1e6:.1f}", f"{end.rss / 1e6:.1f}")
    table.add_row("descriptors", str(warm.descriptors), str(end.descriptors))
    table.add_row("threads", str(warm.threads), str(end.threads))
    out = Console()
    out.print(table)
    out.print(f"{figures.frames} frames in {figures.runs} runs", highlight=False)
    out.print(f"growth {figures.bytes_per_1000 / 1e3:+.1f} kB per 1000 frames", highlight=False)
    books = ", ".join(f"{count} {book}" for book, count in figures.ledger.items())
    out.print(f"ledgers: {books}; {figures.unbalanced} unbalanced", highlight=False)
    out.print(
        f"sink: {counts.delivered} of {counts.received} delivered, {counts.stripped} stripped, "
        f"{counts.dropped} dropped, {counts.errors} errors, complete: {delivered}",
        highlight=False,
    )
    if output is not None:
        output.write_text(json.dumps(asdict(figures), indent=2))
