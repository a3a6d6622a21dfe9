"""``operando train``: make the weights of the networks."""

from __future__ import annotations

import os
import threading
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Annotated

import typer
from rich.progress import (
    BarColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from .options import Device, Profile, takes
from .terminal import console, say

if TYPE_CHECKING:
    from ..lab.training.job import Job, NetworkName
    from ..lab.training.loop import TrainingCheckpoint
    from ..lab.training.run import Report

app = typer.Typer(
    no_args_is_help=True, help="Train the networks on simulated scenes, from seed to weights."
)
_AIMS = {"dual-unet": "quality", "cyclegan": "f1"}


@dataclass(frozen=True, kw_only=True)
class TrainOptions:
    """Options of both trainings; those of a `Job` that are None stay as usual."""

    out: Annotated[
        Path,
        typer.Option(
            "-o", "--out", metavar="DIR", help="Gets checkpoint.pt, log.csv and the weights."
        ),
    ]
    batch: Annotated[
        int | None, typer.Option(min=1, help="Images per step. Default: 32 ROIs or 16 crops.")
    ] = None
    width: Annotated[
        int | None,
        typer.Option(
            min=1, help="Channels at full resolution. Default: 8 for ROIs, 16 for frames."
        ),
    ] = None
    seed: Annotated[int | None, typer.Option(min=0, help="Seed of everything. Default: 0.")] = None
    scenes: Annotated[
        int | None, typer.Option(min=16, help="Simulated scenes to train on. Default: 20000.")
    ] = None
    held_out: Annotated[
        int | None, typer.Option(min=4, help="Simulated scenes to score on. Default: 500.")
    ] = None
    score_every: Annotated[
        int | None, typer.Option(min=1, help="Steps between scores. Default: 250.")
    ] = None
    patience: Annotated[
        int | None,
        typer.Option(min=1, help="Scores in a row that are not the best, then end. Default: 12."),
    ] = None
    mixed: Annotated[
        bool | None,
        typer.Option(
            "--mixed/--no-mixed",
            help="Compute in bfloat16 where the device is faster for it. Default: yes.",
        ),
    ] = None
    pools: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Where scenes are kept, for other trainings on the same ones: about 100 kB per "
            "scene. Default: with the results.",
            show_default=False,
        ),
    ] = None
    device: Device = "auto"
    threads: Annotated[
        int, typer.Option(min=0, help="Threads, and processes that simulate; 0: one per core.")
    ] = 0
    smoke: Annotated[
        bool, typer.Option("--smoke", help="So small that it ends within a minute on one core.")
    ] = False
    resume: Annotated[
        bool,
        typer.Option("--resume", help="Go on with the training in DIR, with the settings it has."),
    ] = False


@dataclass(frozen=True, kw_only=True)
class DualUnetOptions(TrainOptions):
    """Options of ``train dual-unet``."""

    steps: Annotated[int | None, typer.Option(min=1, help="Optimiser steps. Default: 8000.")] = None
    rate: Annotated[float | None, typer.Option(help="Highest rate. Default: 0.002.")] = None


@dataclass(frozen=True, kw_only=True)
class CycleganOptions(TrainOptions):
    """Options of ``train cyclegan``."""

    steps: Annotated[
        int | None,
        typer.Option(min=0, help="Steps without pairs, after the warm start. Default: 1000."),
    ] = None
    paired_steps: Annotated[
        int | None,
        typer.Option(min=0, help="Steps of the warm start. Default: 8000; 0 with --start."),
    ] = None
    rate: Annotated[
        float | None, typer.Option(help="Highest rate without pairs. Default: 0.0002.")
    ] = None
    paired_rate: Annotated[
        float | None, typer.Option(help="Highest rate of the warm start. Default: 0.002.")
    ] = None
    blocks: Annotated[
        int | None, typer.Option(min=1, help="Residual blocks of the generators. Default: 4.")
    ] = None
    start: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Weights of the generator to begin with, *.safetensors.",
            show_default=False,
        ),
    ] = None
    recording: Annotated[
        Path | None,
        typer.Option(
            metavar="PATH",
            help="Adapt to these frames: a recording, a folder of them, or data that "
            "`operando import` reads.",
            show_default=False,
        ),
    ] = None
    profile: Profile = None


@app.command("dual-unet")
@takes(DualUnetOptions)
def dual_unet(options: DualUnetOptions) -> None:
    """Train the Dual U-net: from ROIs to clean particles, and on to their contours."""
    _train("dual-unet", options)


@app.command("cyclegan")
@takes(CycleganOptions)
def cyclegan(options: CycleganOptions) -> None:
    """Train the Cycle-GAN: from frames to masks of particles.

    First with pairs of simulated frames and masks, then without: on frames and masks that do not
    belong together, or on recorded frames and simulated masks.
    """
    _train("cyclegan", options)


def _train(network: NetworkName, options: TrainOptions) -> None:
    from ...models.device import bounded_threads, resolve_device
    from ..errors import ConfigError
    from ..lab.training.run import Watch, read_checkpoint, run
    from .terminal import stop_at_signals

    try:
        where = resolve_device(options.device or "auto")
    except ValueError as error:
        raise ConfigError(str(error)) from error
    checkpoint = read_checkpoint(options.out) if options.resume else None
    job = _job(network, options, checkpoint)
    stop = stop_at_signals("ending with a checkpoint; once more ends without")
    count = options.threads or os.cpu_count() or 1
    with bounded_threads(count), TrainProgress(job, stop) as shown:
        outcome = run(
            job,
            options.out,
            device=where,
            workers=count,
            pools=options.pools,
            resume=checkpoint,
            watch=Watch(data=shown.data, report=shown.report, stop=stop.is_set),
        )
    if outcome.weights is None:
        say(f"stopped; go on with: operando train {network} --out {options.out} --resume", "yellow")
        raise typer.Abort
    for name, value in outcome.scores.items():
        typer.echo(f"{name:14} {value:.4f}")
    say(f"wrote {outcome.weights}")


def _job(network: NetworkName, options: TrainOptions, checkpoint: TrainingCheckpoint | None) -> Job:
    """Return the job of the options, or that of the checkpoint, which they must not contradict."""
    from ..errors import ConfigError
    from ..lab.training.job import Job, make_job, parse_job

    given = {
        name: str(value) if isinstance(value, Path) else value
        for name, value in vars(options).items()
        if name in Job.model_fields and value is not None
    }
    if checkpoint is None:
        return make_job(network, given, smoke=options.smoke)
    stored = dict(checkpoint.job)
    for name, value in {"network": network, **given}.items():
        if stored.get(name) != value:
            raise ConfigError(
                f"--resume: this training has {name} {stored.get(name)!r}, got {value!r}; leave "
                "the option out, or start a training in another folder"
            )
    return parse_job(stored)


class TrainProgress:
    """A bar for each part of a training, with its losses and the held-out score.

    Parameters
    ----------
    job : the training. stop : set when the user wants it to end.
    """

    def __init__(self, job: Job, stop: threading.Event) -> None:
        self._aim, self._stop = _AIMS[job.network], stop
        self._bars: dict[str, TaskID] = {}
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.completed:.0f}/{task.total:.0f}"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[values]}"),
            console=console(),
        )

    def __enter__(self) -> TrainProgress:
        self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bar.stop()

    def data(self, what: str, done: int, of: int) -> None:
        """Show how many scenes are made; there is no checkpoint of them to stop with."""
        if self._stop.is_set():
            raise KeyboardInterrupt
        self._show(what, done, of, "")

    def report(self, report: Report) -> None:
        """Show a step; scores stay, in a line of their own."""
        progress = report.progress
        losses = " ".join(f"{name} {value:.3f}" for name, value in progress.losses.items())
        best = f"  best {self._aim} {progress.best:.4f}" if progress.best_step else ""
        self._show(report.phase, progress.step, report.steps, losses + best)
        if progress.scores:
            scores = " ".join(f"{name} {value:.4f}" for name, value in progress.scores.items())
            say(f"{report.phase} {progress.step}: {scores}", "green" if progress.improved else "")

    def _show(self, what: str, done: int, of: int, values: str) -> None:
        if what not in self._bars:
            self._bars[what] = self._bar.add_task(what, total=of, values="")
        self._bar.update(self._bars[what], completed=done, values=values)
