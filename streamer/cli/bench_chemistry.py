"""``operando bench chemistry``: spectra and maps against what the simulator mixed."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .options import Device

_DIGITS = {
    "radius": 0,
    "fraction": 3,
    "true_fraction": 3,
    "fraction_error": 3,
    "fraction_sigma": 3,
    "edge_error": 3,
    "edge_sigma": 3,
    "pixels": 0,
    "pixel_rms": 3,
    "pixel_median": 3,
}


def chemistry(
    preset: Annotated[str, typer.Option(help="What is simulated.")] = "paper",
    energies: Annotated[int, typer.Option(min=12, help="Energies over the Ni K edge.")] = 143,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the simulator.")] = 0,
    profile: Annotated[str, typer.Option(help="Settings of the processor.")] = "sim_txm",
    device: Device = None,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="Also write the figures as CSV.")
    ] = None,
) -> None:
    """Oxidised fraction and edge of each particle, and of its pixels, of one simulated scan."""
    from rich.console import Console
    from rich.progress import Progress
    from rich.table import Table

    from ...models.device import bounded_threads
    from ..bench.chemistry import measure_chemistry
    from ..simulate.presets import preset as simulated
    from .sinks import settings_of

    console = Console(stderr=True)
    settings = settings_of(profile, device)
    with Progress(console=console) as bar:
        task = bar.add_task("scanning", total=None)
        with bounded_threads(settings.process.thread_count):
            scores = measure_chemistry(
                simulated(preset, n_energies=energies, seed=seed),
                settings,
                lambda: bar.advance(task),
            )
    table = Table(title=f"{preset}: fractions, 1; edges, eV; radius, px", title_justify="left")
    for name in scores.columns:
        table.add_column(name.replace("_", " "), justify="right")
    for row in scores.to_dict("records"):
        table.add_row(*(f"{value:.{_DIGITS.get(str(name), 0)}f}" for name, value in row.items()))
    Console(width=160).print(table)
    if output is not None:
        scores.to_csv(output, index=False)
        console.print(f"wrote {output}", highlight=False)
