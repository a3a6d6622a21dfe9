"""``operando bench paper``: the published comparison, repeated."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from rich.console import Console
from rich.progress import Progress

from .options import Device

if TYPE_CHECKING:
    from ..config import Settings
    from ..lab.bench.paper.runner import PaperResult

_PEERS = (
    "absolute_template",
    "absolute_correlation",
    "relative_template",
    "relative_correlation",
    "sift_affine",
    "flow_tvl1",
    "flow_ilk",
)
_LEAST_WIDTH = 190


def paper(
    quick: Annotated[
        bool, typer.Option("--quick", help="20 projections in place of 143, fewer to time.")
    ] = False,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the simulator.")] = 0,
    peers: Annotated[bool, typer.Option(help="Also run other methods on the same frames.")] = True,
    speed: Annotated[bool, typer.Option(help="Also look at the clock: 100 frames.")] = True,
    profile: Annotated[str, typer.Option(help="Settings of the processor.")] = "sim_txm",
    device: Device = None,
    threads: Annotated[
        int | None, typer.Option(min=0, help="Threads; 0: half of the cores.", show_default=False)
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--output",
            "--out",
            metavar="DIR",
            help="Write paper.md, paper.csv and paper.png there.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """The comparison of Su et al. 2024 on a synthetic set as they describe theirs."""
    from rich.console import Console
    from rich.progress import Progress

    from ..lab.bench.paper import series
    from ..lab.bench.paper.report import write_report
    from ..lab.bench.paper.runner import run_paper
    from ..lab.bench.paper.series import QUICK, paper_set
    from ..lab.bench.peers import make_peer

    console = Console(stderr=True)
    ways, left_out = _ways(profile, device, threads)
    others = {name: make_peer(name) for name in _PEERS} if peers else {}
    frames = QUICK if quick else series.SPEED_FRAMES
    with Progress(console=console) as bar:
        task = bar.add_task("simulating", total=1.0)
        result = run_paper(
            paper_set(seed, quick=quick),
            ways,
            others,
            left_out,
            lambda what, share: bar.update(task, completed=share, description=what),
            speed_frames=frames if speed else 0,
        )
    _show(result)
    if output is not None:
        for path in write_report(result, output, quick=quick):
            console.print(f"wrote {path}", highlight=False)


def _ways(
    profile: str, device: str | None, threads: int | None
) -> tuple[dict[str, Settings], dict[str, str]]:
    """Settings of the ways of ours that can run, and why the others cannot."""
    from ..errors import ConfigError
    from ..lab.bench.paper.ways import WAYS, missing

    process: dict[str, Any] = {"device": device, "threads": threads}
    process = {key: value for key, value in process.items() if value is not None}
    settings = {way.name: way.settings(profile, process) for way in WAYS}
    left_out = {name: why for name, one in settings.items() if (why := missing(one))}
    if len(left_out) == len(settings):
        raise ConfigError(next(iter(left_out.values())))
    return {n: one for n, one in settings.items() if n not in left_out}, left_out


def _show(result: PaperResult) -> None:
    from rich.console import Console
    from rich.table import Table

    from ..lab.bench.columns import TERMINAL
    from ..lab.bench.paper.report import head, remarks, rows

    table = Table(title="beside Su et al. 2024", title_justify="left")
    for number, name in enumerate(head(TERMINAL)):
        table.add_column(name, justify="right" if number else "left", no_wrap=True)
    for row in rows(result, TERMINAL):
        table.add_row(*row)
    console = Console()
    # a pipe has 80 columns, in which nothing of this could be read
    Console(width=max(console.width, _LEAST_WIDTH)).print(table)
    for line in remarks(result):
        console.print(f"- {line}", highlight=False)


# ``operando bench real``: measured accuracy on real data with known answers.


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
    from .outputs import settings_of
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
    from ..lab.bench.peers import PEERS
    from ..lab.bench.real.injected import measure_injected
    from ..lab.bench.real.process import stxm_settings
    from ..lab.bench.real.report import injected_tables, save_injected

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
    from ..lab.bench.real.nca import PROFILE, measure_nca
    from ..lab.bench.real.report import nca_tables, save_nca
    from .outputs import settings_of

    result = measure_nca(data, settings_of(PROFILE, device), progress=steps)
    for table in nca_tables(result):
        Console().print(table)
    if pictures is not None:
        save_nca(result, pictures / "nca.png")
    return result.summary()
