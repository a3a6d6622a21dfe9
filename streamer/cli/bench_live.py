"""``operando bench``: live set-ups on this machine, all of whose processes share it."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from ..errors import OperandoError
from .bench_options import Bars, JsonFile, Preset, finish
from .terminal import say


@contextmanager
def _scratch() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="operando-bench-") as folder:
        yield Path(folder)


def stream(
    rate: Annotated[float, typer.Option(min=0.1, help="Sample frames per second.")] = 10.0,
    seconds: Annotated[float, typer.Option(min=1, help="How long.")] = 120.0,
    preset: Preset = "paper",
    output: JsonFile = None,
) -> None:
    """Run end to end through 0MQ and Tiled at a fixed rate, all processes on this machine."""
    from ..lab.bench.load import prepare_documents
    from ..lab.bench.stream import measure_stream

    with _scratch() as folder, Bars() as bars:
        documents = prepare_documents(preset, round(rate * seconds), bars)
        figures = measure_stream(documents, rate, folder, bars.one(f"{rate:g} frames/s"))
    finish(figures, output)


def dashboard(
    rate: Annotated[float, typer.Option(min=0.1, help="Sample frames per second.")] = 5.0,
    seconds: Annotated[float, typer.Option(min=5, help="How long.")] = 40.0,
    viewers: Annotated[int, typer.Option(min=1, help="Pages open on the run.")] = 3,
    preset: Preset = "paper",
    picture: Annotated[
        Path | None, typer.Option(help="Also save a picture of the page (PNG).")
    ] = None,
    output: JsonFile = None,
) -> None:
    """Run without and with a dashboard whose pages are open in headless Chromium.

    All processes share this machine, the browser too. Needs Chromium and operando[browser].
    """
    from ..lab.bench.load import prepare_documents
    from ..lab.bench.stream import dashboard_table, measure_dashboard

    figures = {}
    with Bars() as bars:
        documents = prepare_documents(preset, round(rate * seconds), bars)
        for number in (0, viewers):
            bar = bars.one(f"{rate:g} frames/s, {number} viewers")
            with _scratch() as folder:
                figures[number] = measure_dashboard(documents, rate, number, folder, bar, picture)
    finish(figures, output, dashboard_table(figures))


def recenter(
    energies: Annotated[int, typer.Option(min=20, help="Energies of the scan.")] = 40,
    creep: Annotated[float, typer.Option(min=0, help="Of the sample during the scan, px.")] = 60.0,
    side: Annotated[int, typer.Option(min=128, help="Side of a frame, px.")] = 180,
    particles: Annotated[int, typer.Option(min=2, help="Particles in it.")] = 6,
    seed: Annotated[int, typer.Option(help="Of the sample.")] = 3,
    limit: Annotated[float, typer.Option(min=0, help="Of the field's distance, px.")] = 3.0,
    output: JsonFile = None,
) -> None:
    """Bring a creeping sample back between energies: RunEngine, 0MQ and service, closed loop."""
    from ..lab.bench.recenter import RecenterSettings, faults, measure_recenter, table

    settings = RecenterSettings(
        energies=energies, side=side, particles=particles, creep_px=creep, seed=seed
    )
    with _scratch() as folder, Bars() as bars:
        figures = measure_recenter(settings, folder, bars.one("three scans"))
    finish(
        figures,
        output,
        table(figures),
        f"largest error of the measured matrix {figures.matrix_error:.1%}; test moves against a "
        f"matrix of the wrong sign: {figures.reversed_measured or 'NOT NOTICED'}",
    )
    if wrong := faults(figures, limit):
        raise OperandoError("; ".join(wrong))


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
    from ..lab.bench.crash import measure_crashes
    from ..lab.simulate import SimSettings, ni_edge_energies

    settings = SimSettings(
        shape=(size, size),
        n_particles=particles,
        radius_px=(0.04 * size, 0.08 * size),
        energies=tuple(float(e) for e in ni_edge_energies(energies)),
    )
    folder = keep or Path(tempfile.mkdtemp(prefix="operando-crash-"))
    try:
        with Bars() as bars:
            progress = bars.one("crash")
            figures = measure_crashes(settings, kills, folder, seed=seed, progress=progress)
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
    output: JsonFile = None,
) -> None:
    """Publish faster than the service can process: its memory, its ledger, and how it recovers."""
    from ..lab.bench.load import Recycled
    from ..lab.bench.overload import OverloadSettings, measure_overload
    from ..lab.bench.soak import small_scan

    settings = OverloadSettings(
        seconds=seconds, factor=factor, queue_mb=queue_mb, options=options or ()
    )
    with _scratch() as folder, Bars() as bars:
        recycled = Recycled.render(small_scan(side, particles, per_run))
        figures = measure_overload(recycled, settings, folder, bars.one("overload"))
    finish(figures, output)
    if not figures.accounted:
        raise OperandoError("not every published frame stands in a ledger that balances")
    if figures.rss_most > figures.bound:
        raise OperandoError("the memory went beyond its bound")


def soak(
    frames: Annotated[int, typer.Option(min=100, help="Sample frames, in all.")] = 20_000,
    per_run: Annotated[int, typer.Option(min=2, help="Sample frames of a run.")] = 150,
    side: Annotated[int, typer.Option(min=64, help="Side of a frame, px.")] = 96,
    particles: Annotated[int, typer.Option(min=1, help="Particles in the frame.")] = 3,
    tiled: Annotated[
        bool, typer.Option("--tiled", help="Write the results to a real Tiled server as well.")
    ] = False,
    output: JsonFile = None,
) -> None:
    """Send many short runs through one service: what the process holds early on, and at the end."""
    from ..lab.bench.load import Recycled
    from ..lab.bench.soak import small_scan, soak_service, soak_table

    recycled = Recycled.render(small_scan(side, particles, per_run))
    with Bars() as bars:
        figures, sink = soak_service(recycled, frames, tiled=tiled, progress=bars.one("soak"))
    books = ", ".join(f"{count} {book}" for book, count in figures.ledger.items())
    finish(
        figures,
        output,
        soak_table(figures),
        f"{figures.frames} frames in {figures.runs} runs",
        f"growth {figures.bytes_per_1000 / 1e3:+.1f} kB per 1000 frames",
        f"ledgers: {books}; {figures.unbalanced} unbalanced",
        f"sink: {sink}",
    )
