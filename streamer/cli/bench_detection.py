"""``operando bench detection``: how well detectors find particles, and how long they take."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .options import Device, Profile

if TYPE_CHECKING:
    from ..bench.detection.regimes import Regime as DetectionRegime
    from ..bench.detection.runner import RegimeResult as DetectionResult
    from ..config import Settings

_SIMULATED_PROFILE, _REAL_PROFILE = "sim_txm", "ssrl_6_2c"
_DETECTION_WIDTH = 170


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
    from ..bench.detection.detectors import usable_detectors
    from .sinks import settings_of
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
    from ..bench.detection.regimes import REGIMES
    from ..errors import ConfigError

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
    from ..bench.detection.runner import run_regime
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

    from ..bench.detection.report import write_report
    from ..bench.detection.scenes import RULES
    from ..bench.detection.table import tables

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
    from ..bench.detection.real import detect_real
    from ..bench.detection.real_figure import real_table, save_masks
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
