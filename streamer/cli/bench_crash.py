"""``operando bench crash``: kill the service during a run, and compare."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


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

    from ..bench.crash import measure_crashes
    from ..simulate import SimSettings, ni_edge_energies
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
