"""``operando bench crash``: kill the service during a run, and compare."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from ..lab.bench.load import Resources


def crash(
    kills: Annotated[int, typer.Option(min=1, help="SIGKILLs during the run.")] = 20,
    energies: Annotated[int, typer.Option(min=4, help="Energies of the scan.")] = 143,
    size: Annotated[int, typer.Option(min=128, help="Height and width of the frames, px.")] = 460,
    particles: Annotated[int, typer.Option(min=1, help="Particles in them.")] = 9,
    seed: Annotated[int, typer.Option(help="Of the moments.")] = 0,
    keep: Annotated[
        Path | None,
        typer.Option(
            "--keep",
            metavar="DIR",
            help="Work in this folder and leave all in it; else only a failure leaves its folder.",
        ),
    ] = None,
) -> None:
    """Kill -9 the service at random moments of one run; the result must be that of a quiet one."""
    import shutil
    import tempfile

    from ..lab.bench.crash import measure_crashes
    from ..lab.simulate import SimSettings, ni_edge_energies
    from .terminal import say

    radius = (0.04 * size, 0.08 * size)
    settings = SimSettings(
        shape=(size, size),
        n_particles=particles,
        radius_px=radius,
        energies=tuple(float(e) for e in ni_edge_energies(energies)),
    )
    folder = keep or Path(tempfile.mkdtemp(prefix="operando-crash-"))
    try:
        figures = measure_crashes(settings, kills, folder, seed=seed, say=say)
    except BaseException:
        say(f"data and logs are in {folder}", "red")
        raise
    say(
        f"{figures.kills} kills, {figures.starts} starts came to processing; {figures.frames} "
        f"frames, {figures.rows} rows of particles, {figures.images} aligned images; ledger "
        f"{'balances' if figures.balanced else 'DOES NOT BALANCE'}; the run was complete "
        f"{figures.catch_up:.1f} s after its last document"
    )
    if figures.differences or not figures.balanced:
        for difference in figures.differences:
            say(difference, "red")
        say(f"data and logs are in {folder}", "red")
        raise typer.Exit(1)
    if keep is None:
        shutil.rmtree(folder)
    say("rows, images and ledger are those of the undisturbed run, bit for bit", "green")


# ``operando bench overload``: more than can be processed.


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

    from ..errors import OperandoError
    from ..lab.bench.load import Recycled
    from ..lab.bench.overload import OverloadSettings, measure_overload
    from ..lab.bench.soak import small_scan

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


# ``operando bench soak``: whether anything grows.


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

    from ...callbacks.processor.processor import StreamProcessor
    from ...callbacks.sinks.buffer import BufferedSink
    from ..config import load_settings
    from ..io.sources import make_source
    from ..lab.bench.load import Recycled
    from ..lab.bench.soak import Ledgers, endless, measure_soak, small_scan
    from ..service.operation.monitor import Monitor
    from ..service.service import Service
    from ..service.tiled_server import EmbeddedTiled

    console = Console(stderr=True)
    recycled = Recycled.render(small_scan(side, particles, per_run))
    ledgers = Ledgers()
    with ExitStack() as stack:
        processor = StreamProcessor(load_settings("sim_txm"))
        stack.callback(processor.close)
        sink: BufferedSink
        if tiled:
            from ...callbacks.tiled.sink import TiledSink

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
