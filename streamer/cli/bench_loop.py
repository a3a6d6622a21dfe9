"""``operando bench dashboard``: what viewers see and what they cost."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from ..lab.bench.recenter import RecenterFigures

_ROWS = {
    "frames": "frames",
    "off_rms": "field off, px rms",
    "off_max": "field off at most, px",
    "seen": "particles followed",
    "out": "out of the field at the end",
    "lost": "lost",
    "warned": "told to be leaving before",
    "moves": "moves of the stage",
    "told": "of them told in the results",
    "refused": "the loop stopped",
}


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

    from ..lab.bench.dashboard import measure_dashboard
    from ..lab.bench.stream import prepare_documents

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


# ``operando bench recenter``: a creeping sample, with and without feedback to the stage.


def recenter(
    energies: Annotated[int, typer.Option(min=20, help="Energies of the scan.")] = 40,
    creep: Annotated[float, typer.Option(min=0, help="Of the sample during the scan, px.")] = 60.0,
    side: Annotated[int, typer.Option(min=128, help="Side of a frame, px.")] = 180,
    particles: Annotated[int, typer.Option(min=2, help="Particles in it.")] = 6,
    seed: Annotated[int, typer.Option(help="Of the sample.")] = 3,
    limit: Annotated[float, typer.Option(min=0, help="Of the field's distance, px.")] = 3.0,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="Also write the figures as JSON.")
    ] = None,
) -> None:
    """Bring a creeping sample back between energies: RunEngine, 0MQ and service, closed loop."""
    import tempfile
    from dataclasses import asdict

    from ..errors import OperandoError
    from ..lab.bench.recenter import RecenterSettings, measure_recenter

    console = Console(stderr=True)
    settings = RecenterSettings(
        energies=energies, side=side, particles=particles, creep_px=creep, seed=seed
    )
    with tempfile.TemporaryDirectory(prefix="operando-bench-") as folder:
        figures = measure_recenter(
            settings, Path(folder), lambda text: console.print(text, highlight=False)
        )
    Console().print(_table(figures))
    Console().print(
        f"largest error of the measured matrix {figures.matrix_error:.1%}; test moves against a "
        f"matrix of the wrong sign: {figures.reversed_measured or 'NOT NOTICED'}",
        highlight=False,
    )
    if output is not None:
        output.write_text(json.dumps(asdict(figures), indent=2))
    wrong = _wrong(figures, limit)
    if wrong:
        raise OperandoError("; ".join(wrong))


def _table(figures: RecenterFigures) -> Table:
    scans = {
        "left alone": figures.without,
        "brought back": figures.with_loop,
        "wrong sign": figures.reversed_given,
    }
    table = Table(title="one sample, three scans", title_justify="left")
    table.add_column("")
    for name in scans:
        table.add_column(name, justify="right")
    for key, label in _ROWS.items():
        values = (getattr(scan, key) for scan in scans.values())
        table.add_row(label, *(f"{v:.2f}" if isinstance(v, float) else str(v) for v in values))
    return table


def _wrong(figures: RecenterFigures, limit: float) -> list[str]:
    """What should have been otherwise."""
    checks = {
        "the field did not leave without the loop": figures.without.out > 0,
        "particles were lost with the loop": figures.with_loop.lost == 0,
        f"the field was more than {limit:g} px off": figures.with_loop.off_max <= limit,
        "a wrong sign was not noticed before a second move": figures.reversed_given.moves == 1
        and figures.reversed_given.refused == "reversed",
        "test moves did not notice a wrong sign": bool(figures.reversed_measured),
    }
    return [text for text, well in checks.items() if not well]
