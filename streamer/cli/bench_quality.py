"""``operando bench``: accuracy, chemistry, detection, the paper, real data."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from .bench_options import (
    Bars,
    JsonFile,
    Peers,
    Preset,
    Quick,
    Regimes,
    Seed,
    SimProfile,
    Threads,
    finish,
    folder,
)
from .options import Device, Profile
from .terminal import say

if TYPE_CHECKING:
    from ..config import Settings
    from ..lab.bench.detection import DetectionResult
    from ..lab.bench.harness import Report, Table

_SIMULATED_PROFILE, _REAL_PROFILE = "sim_txm", "ssrl_6_2c"
# what the paper compares with, and the two usual kinds of optical flow
_PAPER_PEERS = (
    *("absolute_template", "absolute_correlation", "relative_template", "relative_correlation"),
    *("sift_affine", "flow_tvl1", "flow_ilk"),
)
Output = Path | None


def accuracy(
    regime: Regimes = None,
    quick: Annotated[bool, typer.Option("--quick", help="Fewer energies for each scan.")] = False,
    seed: Seed = 0,
    peers: Peers = True,
    profile: SimProfile = "sim_txm",
    device: Device = None,
    output: Annotated[
        Output, folder("Write accuracy.json, accuracy.md and accuracy.png there.")
    ] = None,
) -> None:
    """Compare positions, identities and error bars with the truth of simulated scans."""
    from ..lab.bench.accuracy import run_regime
    from ..lab.bench.accuracy_report import report, summary
    from ..lab.bench.peers import PEERS, make_peer
    from ..lab.bench.regimes import ACCURACY, choose
    from .outputs import settings_of

    settings = settings_of(profile, device)
    chosen = choose(regime, ACCURACY)
    others = {name: make_peer(name) for name in PEERS} if peers else {}
    with Bars() as bars:
        results = [
            run_regime(one, one.settings(seed, quick=quick), settings, others, bars.one(one.name))
            for one in chosen
        ]
    _tell([summary(results)], report(results, settings, seed=seed, quick=quick), output)


def _tell(shown: Sequence[Table | str], report: Report, output: Path | None) -> None:
    """Show what was measured and write it, if that is wanted."""
    from ..lab.bench.harness import show

    show(*shown)
    if output is not None:
        for path in report.write(output):
            say(f"wrote {path}")


def chemistry(
    preset: Preset = "paper",
    energies: Annotated[int, typer.Option(min=12, help="Energies over the Ni K edge.")] = 143,
    seed: Seed = 0,
    profile: SimProfile = "sim_txm",
    device: Device = None,
    output: Annotated[
        Output, typer.Option("-o", "--output", help="Also write the figures as CSV.")
    ] = None,
) -> None:
    """Compare fraction and edge of each particle, and of its pixels, with those simulated."""
    from ...models.device import bounded_threads
    from ..lab.bench.chemistry import measure_chemistry, table
    from ..lab.bench.harness import show
    from ..lab.simulate.settings import preset as simulated
    from .outputs import settings_of

    settings = settings_of(profile, device)
    with Bars() as bars, bounded_threads(settings.process.thread_count):
        scan = simulated(preset, n_energies=energies, seed=seed)
        scores = measure_chemistry(scan, settings, bars)
    show(table(scores, preset))
    if output is not None:
        scores.to_csv(output, index=False)
        say(f"wrote {output}")


def detection(
    regime: Regimes = None,
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
        Output,
        folder(
            "Write detection.json, detection.csv and detection.png there; with --real "
            "real.json and masks-*.png."
        ),
    ] = None,
) -> None:
    """Count particles found, missed and made up by each detector on the same held-out frames."""
    from ..lab.bench.detection import RULES, usable_detectors
    from ..lab.bench.detection_report import report, tables
    from .outputs import settings_of

    default = _SIMULATED_PROFILE if real is None else _REAL_PROFILE
    settings = settings_of(profile or default, device)
    names, left_out = usable_detectors(detector or (), settings)
    for name, reason in left_out.items():
        say(f"left out {name}: {reason}")
    if real is not None:
        _detect_real(real, names, settings, output)
        return
    results = _detect_simulated(regime, names, settings, quick=quick, full=full)
    _tell([*tables(results), RULES], report(results, settings, left_out, quick=quick), output)


def _detect_simulated(
    regime: list[str] | None, names: Sequence[str], settings: Settings, *, quick: bool, full: bool
) -> list[DetectionResult]:
    from ...models.device import bounded_threads
    from ..lab.bench.detection import run_regime
    from ..lab.bench.regimes import DETECTION, choose

    chosen = [one for one in choose(regime, DETECTION) if regime or full or not one.full]
    # one thread: what a detector costs, not how many cores there are
    with Bars() as bars, bounded_threads(1):
        return [run_regime(one, names, settings, quick=quick, progress=bars) for one in chosen]


def _detect_real(data: Path, names: Sequence[str], settings: Settings, output: Path | None) -> None:
    from ...models.device import bounded_threads
    from ..lab.bench.detection_real import detect_real, real_table, save_masks
    from ..lab.bench.harness import Report

    with Bars() as bars, bounded_threads(1):
        result = detect_real(data, names, settings, bars)
    _tell([real_table(result)], Report(name="real", figures=result.summary()), output)
    for path in save_masks(result, output) if output is not None else ():
        say(f"wrote {path}")


def paper(
    quick: Quick = False,
    seed: Seed = 0,
    peers: Peers = True,
    speed: Annotated[bool, typer.Option(help="Also look at the clock: 100 frames.")] = True,
    profile: SimProfile = "sim_txm",
    device: Device = None,
    threads: Threads = None,
    output: Annotated[
        Output, folder("Write paper.md, paper.csv and paper.png there.", "--out")
    ] = None,
) -> None:
    """Repeat the comparison of Su et al. 2024 on a synthetic set as they describe theirs."""
    from ..lab.bench.paper import run_paper, usable_ways
    from ..lab.bench.paper_report import remarks, report, table
    from ..lab.bench.paper_set import QUICK, SPEED_FRAMES, paper_set
    from ..lab.bench.peers import make_peer

    process = {"device": device, "threads": threads}
    ways, left_out = usable_ways(profile, {k: v for k, v in process.items() if v is not None})
    others = {name: make_peer(name) for name in _PAPER_PEERS} if peers else {}
    frames = QUICK if quick else SPEED_FRAMES
    with Bars() as bars:
        result = run_paper(
            paper_set(seed, quick=quick),
            ways,
            others,
            left_out,
            bars.one(""),
            speed_frames=frames if speed else 0,
        )
    lines = [f"- {line}" for line in remarks(result)]
    _tell([table(result, terminal=True), *lines], report(result, quick=quick), output)


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
    output: JsonFile = None,
    pictures: Annotated[
        Path | None,
        typer.Option(file_okay=False, help="Folder for injected.png and nca.png."),
    ] = None,
) -> None:
    """Measure accuracy on real images whose motion is put in, repeated, or given by the optics."""
    from ...models.device import bounded_threads
    from ..lab.bench.harness import Report
    from ..lab.bench.peers import PEERS
    from ..lab.bench.real_injected import draw_injected, injected_tables, measure_injected
    from ..lab.bench.real_nca import PROFILE, draw_nca, measure_nca, nca_tables
    from ..lab.bench.real_stack import stxm_settings
    from .outputs import settings_of

    figures: dict[str, Any] = {}
    shown: list[Table] = []
    with Bars() as bars, bounded_threads(settings_of(None, device).process.thread_count):
        if part in ("all", "injected"):
            names = tuple(PEERS) if peers else ()
            settings = stxm_settings(device)
            moved = measure_injected(data, settings, scale=scale, peers=names, progress=bars)
            figures["injected"], shown = moved.summary(), [*injected_tables(moved)]
            if pictures is not None:
                Report(name="injected", picture=draw_injected(moved)).write(pictures)
        if part in ("all", "nca"):
            nca = measure_nca(data, settings_of(PROFILE, device), bars)
            figures["nca"], shown = nca.summary(), [*shown, *nca_tables(nca)]
            if pictures is not None:
                Report(name="nca", picture=draw_nca(nca)).write(pictures)
    finish(figures, output, *shown)
