"""``operando train``: make the weights of the networks."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.progress import (
    BarColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from .options import Device, Profile
from .terminal import console, say

if TYPE_CHECKING:
    from ..lab.training.job import Job, NetworkName
    from ..lab.training.loop import TrainingCheckpoint
    from ..lab.training.run import Report

app = typer.Typer(
    no_args_is_help=True, help="Train the networks on simulated scenes, from seed to weights."
)
Out = Annotated[
    Path,
    typer.Option("-o", "--out", metavar="DIR", help="Gets checkpoint.pt, log.csv and the weights."),
]
Seed = Annotated[int | None, typer.Option(min=0, help="Seed of everything. Default: 0.")]
Scenes = Annotated[
    int | None, typer.Option(min=16, help="Simulated scenes to train on. Default: 20000.")
]
HeldOut = Annotated[
    int | None, typer.Option(min=4, help="Simulated scenes to score on. Default: 500.")
]
ScoreEvery = Annotated[int | None, typer.Option(min=1, help="Steps between scores. Default: 250.")]
Patience = Annotated[
    int | None,
    typer.Option(min=1, help="Scores in a row that are not the best, then end. Default: 12."),
]
Mixed = Annotated[
    bool | None,
    typer.Option(
        "--mixed/--no-mixed",
        help="Compute in bfloat16 where the device is faster for it. Default: yes.",
    ),
]
Pools = Annotated[
    Path | None,
    typer.Option(
        metavar="DIR",
        help="Where scenes are kept, for other trainings on the same ones: about 100 kB per "
        "scene. Default: with the results.",
        show_default=False,
    ),
]
Threads = Annotated[
    int, typer.Option(min=0, help="Threads, and processes that simulate; 0: one per core.")
]
Smoke = Annotated[
    bool, typer.Option("--smoke", help="So small that it ends within a minute on one core.")
]
Resume = Annotated[
    bool,
    typer.Option("--resume", help="Go on with the training in DIR, with the settings it has."),
]
_AIMS = {"dual-unet": "quality", "cyclegan": "f1"}


@app.command("dual-unet")
def dual_unet(
    out: Out,
    steps: Annotated[
        int | None, typer.Option(min=1, help="Optimiser steps. Default: 8000.")
    ] = None,
    batch: Annotated[int | None, typer.Option(min=1, help="ROIs per step. Default: 32.")] = None,
    rate: Annotated[float | None, typer.Option(help="Highest rate. Default: 0.002.")] = None,
    width: Annotated[
        int | None, typer.Option(min=1, help="Channels at full resolution. Default: 8.")
    ] = None,
    seed: Seed = None,
    scenes: Scenes = None,
    held_out: HeldOut = None,
    score_every: ScoreEvery = None,
    patience: Patience = None,
    mixed: Mixed = None,
    pools: Pools = None,
    device: Device = "auto",
    threads: Threads = 0,
    smoke: Smoke = False,
    resume: Resume = False,
) -> None:
    """Train the Dual U-net: from ROIs to clean particles, and on to their contours."""
    given = {
        "steps": steps,
        "batch": batch,
        "rate": rate,
        "width": width,
        "seed": seed,
        "scenes": scenes,
        "held_out": held_out,
        "score_every": score_every,
        "patience": patience,
        "mixed": mixed,
    }
    _train("dual-unet", out, given, smoke, resume, pools, device, threads)


@app.command("cyclegan")
def cyclegan(
    out: Out,
    steps: Annotated[
        int | None,
        typer.Option(min=0, help="Steps without pairs, after the warm start. Default: 1000."),
    ] = None,
    paired_steps: Annotated[
        int | None,
        typer.Option(min=0, help="Steps of the warm start. Default: 8000; 0 with --start."),
    ] = None,
    batch: Annotated[int | None, typer.Option(min=1, help="Crops per step. Default: 16.")] = None,
    rate: Annotated[
        float | None, typer.Option(help="Highest rate without pairs. Default: 0.0002.")
    ] = None,
    paired_rate: Annotated[
        float | None, typer.Option(help="Highest rate of the warm start. Default: 0.002.")
    ] = None,
    width: Annotated[
        int | None, typer.Option(min=1, help="Channels at full resolution. Default: 16.")
    ] = None,
    blocks: Annotated[
        int | None, typer.Option(min=1, help="Residual blocks of the generators. Default: 4.")
    ] = None,
    start: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Weights of the generator to begin with, *.safetensors.",
            show_default=False,
        ),
    ] = None,
    recording: Annotated[
        Path | None,
        typer.Option(
            metavar="PATH",
            help="Adapt to these frames: a recording, a folder of them, or data that "
            "`operando import` reads.",
            show_default=False,
        ),
    ] = None,
    profile: Profile = None,
    seed: Seed = None,
    scenes: Scenes = None,
    held_out: HeldOut = None,
    score_every: ScoreEvery = None,
    patience: Patience = None,
    mixed: Mixed = None,
    pools: Pools = None,
    device: Device = "auto",
    threads: Threads = 0,
    smoke: Smoke = False,
    resume: Resume = False,
) -> None:
    """Train the Cycle-GAN: from frames to masks of particles.

    First with pairs of simulated frames and masks, then without: on frames and masks that do not
    belong together, or on recorded frames and simulated masks.
    """
    given = {
        "steps": steps,
        "paired_steps": paired_steps,
        "batch": batch,
        "rate": rate,
        "paired_rate": paired_rate,
        "width": width,
        "blocks": blocks,
        "start": None if start is None else str(start),
        "recording": None if recording is None else str(recording),
        "profile": profile,
        "seed": seed,
        "scenes": scenes,
        "held_out": held_out,
        "score_every": score_every,
        "patience": patience,
        "mixed": mixed,
    }
    _train("cyclegan", out, given, smoke, resume, pools, device, threads)


def _train(
    network: NetworkName,
    out: Path,
    options: dict[str, Any],
    smoke: bool,
    resume: bool,
    pools: Path | None,
    device: str | None,
    threads: int,
) -> None:
    from ...models.device import bounded_threads, resolve_device
    from ..errors import ConfigError
    from ..lab.training.run import Watch, read_checkpoint, run
    from .terminal import say, stop_at_signals

    try:
        where = resolve_device(device or "auto")
    except ValueError as error:
        raise ConfigError(str(error)) from error
    given = {name: value for name, value in options.items() if value is not None}
    checkpoint = read_checkpoint(out) if resume else None
    job = _job(network, given, smoke, checkpoint)
    stop = stop_at_signals("ending with a checkpoint; once more ends without")
    count = threads or os.cpu_count() or 1
    with bounded_threads(count), TrainProgress(job, stop) as shown:
        outcome = run(
            job,
            out,
            device=where,
            workers=count,
            pools=pools,
            resume=checkpoint,
            watch=Watch(data=shown.data, report=shown.report, stop=stop.is_set),
        )
    if outcome.weights is None:
        say(f"stopped; go on with: operando train {network} --out {out} --resume", "yellow")
        raise typer.Abort
    for name, value in outcome.scores.items():
        typer.echo(f"{name:14} {value:.4f}")
    say(f"wrote {outcome.weights}")


def _job(
    network: NetworkName, given: dict[str, Any], smoke: bool, checkpoint: TrainingCheckpoint | None
) -> Job:
    """Return the job of the options, or that of the checkpoint, which they must not contradict."""
    from ..errors import ConfigError
    from ..lab.training.job import make_job, parse_job

    if checkpoint is None:
        return make_job(network, given, smoke=smoke)
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
