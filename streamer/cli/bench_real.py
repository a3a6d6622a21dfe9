"""``operando bench real``: measured accuracy on real data with known answers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from rich.console import Console
from rich.progress import Progress

from .options import Device


def real(
    data: Annotated[
        Path,
        typer.Option(
            envvar="OPERANDO_DATA",
            help="Folder of the real data: holds stxm-toner-fe2p, drift-traces, txm-ssrl-nca.",
            exists=True,
            file_okay=False,
        ),
    ],
    part: Annotated[
        Literal["all", "injected", "nca"],
        typer.Option(
            help="injected: an energy stack moved by a measured motion; nca: repeats and "
            "magnification of battery particles."
        ),
    ] = "all",
    scale: Annotated[float, typer.Option(min=0, help="Factor on the measured motion.")] = 3.0,
    peers: Annotated[bool, typer.Option(help="Also run other programs' methods.")] = True,
    device: Device = None,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="Also write the figures as JSON.")
    ] = None,
    pictures: Annotated[
        Path | None,
        typer.Option(file_okay=False, help="Folder for injected.png and nca.png."),
    ] = None,
) -> None:
    """Accuracy on real images whose motion is known: put in, repeated, or given by the optics."""
    from ...models.device import bounded_threads
    from .sinks import settings_of
    from .terminal import console

    if pictures is not None:
        pictures.mkdir(parents=True, exist_ok=True)
    figures: dict[str, Any] = {}
    threads = settings_of(None, device).process.thread_count
    with Progress(console=console()) as bar, bounded_threads(threads):
        steps = _Steps(bar)
        if part in ("all", "injected"):
            figures["injected"] = _injected(data, scale, peers, device, pictures, steps)
        if part in ("all", "nca"):
            figures["nca"] = _nca(data, device, pictures, steps)
    if output is not None:
        output.write_text(json.dumps(figures, indent=2))
        console().print(f"wrote {output}", highlight=False)


class _Steps:
    """Progress by label: one bar each."""

    def __init__(self, bar: Progress) -> None:
        self._bar = bar
        self._tasks: dict[str, Any] = {}

    def __call__(self, label: str, done: int, total: int) -> None:
        if label not in self._tasks:
            self._tasks[label] = self._bar.add_task(label, total=total)
        self._bar.update(self._tasks[label], completed=done, total=total)


def _injected(
    data: Path, scale: float, peers: bool, device: str | None, pictures: Path | None, steps: _Steps
) -> dict[str, Any]:
    from ..bench.peers import PEERS
    from ..bench.real.figures import save_injected
    from ..bench.real.injected import measure_injected
    from ..bench.real.settings import stxm_settings
    from ..bench.real.tables import injected_tables

    result = measure_injected(
        data,
        stxm_settings(device),
        scale=scale,
        peers=tuple(PEERS) if peers else (),
        progress=steps,
    )
    for table in injected_tables(result):
        Console().print(table)
    if pictures is not None:
        save_injected(result, pictures / "injected.png")
    return result.summary()


def _nca(data: Path, device: str | None, pictures: Path | None, steps: _Steps) -> dict[str, Any]:
    from ..bench.real.figures import save_nca
    from ..bench.real.nca import PROFILE, measure_nca
    from ..bench.real.tables import nca_tables
    from .sinks import settings_of

    result = measure_nca(data, settings_of(PROFILE, device), progress=steps)
    for table in nca_tables(result):
        Console().print(table)
    if pictures is not None:
        save_nca(result, pictures / "nca.png")
    return result.summary()
