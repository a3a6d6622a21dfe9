"""``operando bench accuracy``: how far from the truth, beside other ways to register."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .options import Device, Profile

if TYPE_CHECKING:
    from ..config import Settings
    from ..lab.bench.accuracy.regimes import Regime
    from ..lab.bench.accuracy.runner import RegimeResult
    from ..lab.bench.detection.regimes import DetectionRegime
    from ..lab.bench.detection.runner import DetectionResult

_LEAST_WIDTH = 180
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
_SIMULATED_PROFILE, _REAL_PROFILE = "sim_txm", "ssrl_6_2c"
_DETECTION_WIDTH = 170


def accuracy(
    regime: Annotated[
        list[str] | None,
        typer.Option(help="Only this regime; repeat for more.", show_default=False),
    ] = None,
    quick: Annotated[bool, typer.Option("--quick", help="Fewer energies for each scan.")] = False,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the simulator.")] = 0,
    peers: Annotated[bool, typer.Option(help="Also run other methods on the same frames.")] = True,
    profile: Annotated[str, typer.Option(help="Settings of the processor.")] = "sim_txm",
    device: Device = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--output",
            metavar="DIR",
            help="Write accuracy.json, accuracy.md and accuracy.png there.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Position errors, identities and error bars against the truth of simulated scans."""
    from rich.console import Console
    from rich.progress import Progress

    from ..lab.bench.accuracy.report import write_report
    from ..lab.bench.accuracy.runner import run_regime
    from ..lab.bench.peers import PEERS, make_peer
    from .outputs import settings_of

    console = Console(stderr=True)
    settings = settings_of(profile, device)
    chosen = _regimes(regime)
    others = {name: make_peer(name) for name in PEERS} if peers else {}
    results = []
    with Progress(console=console) as bar:
        for one in chosen:
            task = bar.add_task(one.name, total=1.0)
            simulated = one.settings(seed, quick=quick)
            results.append(
                run_regime(
                    one,
                    simulated,
                    settings,
                    others,
                    lambda what, share, t=task, name=one.name: bar.update(
                        t, completed=share, description=f"{name}: {what}"
                    ),
                )
            )
    _show(results)
    if output is not None:
        for path in write_report(results, output, settings, seed=seed, quick=quick):
            console.print(f"wrote {path}", highlight=False)


def _regimes(names: list[str] | None) -> list[Regime]:
    from ..errors import ConfigError
    from ..lab.bench.accuracy.regimes import REGIMES

    for name in names or ():
        if name not in REGIMES:
            raise ConfigError(f"regime: got {name!r}; choose from {', '.join(REGIMES)}")
    return [REGIMES[name] for name in names or REGIMES]


def _show(results: list[RegimeResult]) -> None:
    from rich.console import Console
    from rich.table import Table

    from ..lab.bench.accuracy.report import SUMMARY_HEAD, summary_rows

    table = Table(title="rms errors, px", title_justify="left")
    for head in SUMMARY_HEAD:
        table.add_column(head, justify="left" if head == SUMMARY_HEAD[0] else "right")
    for row in summary_rows(results):
        table.add_row(*row)
    console = Console()
    # a pipe has 80 columns, in which nothing of this could be read
    Console(width=max(console.width, _LEAST_WIDTH)).print(table)


# ``operando bench chemistry``: spectra and maps against what the simulator mixed.


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
    from ..lab.bench.chemistry import measure_chemistry
    from ..lab.simulate.settings import preset as simulated
    from .outputs import settings_of

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


# ``operando bench detection``: how well detectors find particles, and how long they take.


def detection(
    regime: Annotated[
        list[str] | None,
        typer.Option(help="Only this regime; repeat for more.", show_default=False),
    ] = None,
    detector: Annotated[
        list[str] | None,
        typer.Option(
            help="Only this detector, by name or as package.module:Name; repeat for more. "
            "Default: all that are installed.",
            show_default=False,
        ),
    ] = None,
    quick: Annotated[bool, typer.Option("--quick", help="One sample at two energies.")] = False,
    full: Annotated[bool, typer.Option("--full", help="Also frames of 2048 x 2048 px.")] = False,
    real: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Not simulated frames but the real ones in this folder (holds txm-ssrl-nca).",
            exists=True,
            file_okay=False,
            show_default=False,
        ),
    ] = None,
    profile: Profile = None,
    device: Device = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--output",
            metavar="DIR",
            help="Write detection.json, detection.csv and detection.png there; with --real "
            "real.json and masks-*.png.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Particles found, missed and made up by each detector, on the same held-out frames."""
    from ..lab.bench.detection.runner import usable_detectors
    from .outputs import settings_of
    from .terminal import say

    default = _SIMULATED_PROFILE if real is None else _REAL_PROFILE
    settings = settings_of(profile or default, device)
    names, left_out = usable_detectors(detector or (), settings)
    for name, reason in left_out.items():
        say(f"left out {name}: {reason}")
    if real is not None:
        paths = _real(real, names, settings, output)
    else:
        chosen = _detection_regimes(regime, full=full)
        results = _simulated(chosen, names, settings, quick=quick)
        paths = _report(results, settings, left_out, output, quick=quick)
    for path in paths:
        say(f"wrote {path}")


def _detection_regimes(names: list[str] | None, *, full: bool) -> list[DetectionRegime]:
    from ..errors import ConfigError
    from ..lab.bench.detection.regimes import REGIMES

    for name in names or ():
        if name not in REGIMES:
            raise ConfigError(f"regime: got {name!r}; choose from {', '.join(REGIMES)}")
    every = [name for name, regime in REGIMES.items() if full or not regime.full]
    return [REGIMES[name] for name in names or every]


def _simulated(
    regimes: list[DetectionRegime], detectors: Sequence[str], settings: Settings, *, quick: bool
) -> list[DetectionResult]:
    from rich.progress import Progress

    from ...models.device import bounded_threads
    from ..lab.bench.detection.runner import run_regime
    from .terminal import console

    results = []
    # one thread: what a detector costs, not how many cores there are
    with Progress(console=console()) as bar, bounded_threads(1):
        for one in regimes:
            task = bar.add_task(one.name, total=None)
            results.append(
                run_regime(
                    one,
                    detectors,
                    settings,
                    quick=quick,
                    progress=lambda n, of, t=task: bar.update(t, completed=n, total=of),
                )
            )
    return results


def _report(
    results: list[DetectionResult],
    settings: Settings,
    left_out: Mapping[str, str],
    output: Path | None,
    *,
    quick: bool,
) -> list[Path]:
    from rich.console import Console

    from ..lab.bench.detection.report import tables, write_report
    from ..lab.bench.detection.scenes import RULES

    console = Console()
    # a pipe has 80 columns, in which nothing of this could be read
    console = Console(width=max(console.width, _DETECTION_WIDTH))
    for table in tables(results):
        console.print(table)
    console.print(RULES, highlight=False)
    if output is None:
        return []
    return write_report(results, output, settings, left_out, quick=quick)


def _real(
    data: Path, detectors: Sequence[str], settings: Settings, output: Path | None
) -> list[Path]:
    from rich.console import Console
    from rich.progress import Progress

    from ...models.device import bounded_threads
    from ..lab.bench.detection.real import detect_real, real_table, save_masks
    from .terminal import console

    with Progress(console=console()) as bar, bounded_threads(1):
        tasks = {label: bar.add_task(label, total=None) for label in ("reading", *detectors)}
        result = detect_real(
            data,
            detectors,
            settings,
            lambda label, n, of: bar.update(tasks[label], completed=n, total=of),
        )
    Console().print(real_table(result))
    if output is None:
        return []
    paths = save_masks(result, output)
    (output / "real.json").write_text(json.dumps(result.summary(), indent=1) + "\n")
    return [output / "real.json", *paths]
