"""Job of a training: all that its result depends on."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from torch import Tensor

from ....models.networks.weights import FEATURES, WeightsError, fetch
from ...errors import ConfigError

NetworkName = Literal["dual-unet", "cyclegan"]
_HELD_OUT_SEED = 1_000_000  # beyond the seeds that a person chooses
_USUAL: Mapping[str, dict[str, Any]] = {
    "dual-unet": {"width": 8, "batch": 32, "rate": 2e-3, "steps": 8000, "score_every": 250},
    "cyclegan": {
        "width": 16,
        "batch": 16,
        "rate": 2e-4,
        "steps": 1000,
        "paired_steps": 8000,
        "score_every": 250,
    },
}
_SMOKE: Mapping[str, dict[str, Any]] = {
    "dual-unet": {"width": 4, "batch": 16, "rate": 4e-3, "steps": 100, "score_every": 25},
    "cyclegan": {
        "width": 8,
        "blocks": 2,
        "batch": 8,
        "rate": 2e-4,
        "steps": 10,
        "paired_steps": 80,
        "paired_rate": 4e-3,
        "score_every": 20,
    },
}


class Job(BaseModel):
    """A training, on simulated scenes or with recorded frames beside them."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    network: NetworkName = Field(description="what is trained")
    width: int = Field(ge=1, description="channels at full resolution")
    blocks: int = Field(default=4, ge=1, description="residual blocks of the generator")
    scenes: int = Field(ge=16, description="simulated scenes to train on")
    held_out: int = Field(ge=4, description="simulated scenes to score on")
    seed: int = Field(default=0, ge=0, lt=_HELD_OUT_SEED, description="seed of everything")
    batch: int = Field(ge=1, description="images per step")
    rate: float = Field(gt=0, description="highest learning rate")
    steps: int = Field(
        ge=0, description="optimiser steps; those without pairs of a Cycle-GAN, 0 for none"
    )
    paired_steps: int = Field(default=0, ge=0, description="steps of the paired warm start")
    paired_rate: float = Field(default=2e-3, gt=0, description="highest rate of the warm start")
    score_every: int = Field(ge=1, description="steps between held-out scores")
    patience: int = Field(default=12, ge=1, description="scores without a better one, then end")
    mixed: bool = Field(default=True, description="bfloat16 where the device is faster for it")
    start: str | None = Field(default=None, description="weights of the generator to begin with")
    recording: str | None = Field(default=None, description="frames to adapt the generator to")
    profile: str | None = Field(default=None, description="of the beamline that recorded them")

    @property
    def phases(self) -> tuple[str, ...]:
        """Return trainings in their order: ``paired``, then ``unpaired`` for a Cycle-GAN."""
        if self.network == "dual-unet":
            return ("paired",)
        taken = {"paired": self.paired_steps, "unpaired": self.steps}
        return tuple(name for name, steps in taken.items() if steps)

    @property
    def held_out_seed(self) -> int:
        """Return the seed of the scenes to score on."""
        return _HELD_OUT_SEED + self.seed

    def settings(self, phase: str) -> TrainSettings:
        """Return settings of the loop in a phase."""
        warm = phase == "paired" and self.network == "cyclegan"
        steps = self.paired_steps if warm else self.steps
        return TrainSettings(
            steps=steps,
            batch=self.batch,
            rate=self.paired_rate if warm else self.rate,
            warmup=min(200, steps // 10),
            seed=self.seed,
            score_every=self.score_every,
            patience=self.patience,
            mixed=self.mixed,
        )


def make_job(network: NetworkName, given: Mapping[str, Any], *, smoke: bool = False) -> Job:
    """Make a training with the usual settings, but for those that are given.

    Parameters
    ----------
    network : what is trained.
    given : fields of `Job`.
    smoke : so small that it ends within a minute on one core.

    Raises
    ------
    ConfigError
        If a setting cannot be used.
    """
    scenes = {"scenes": 64, "held_out": 32} if smoke else {"scenes": 20_000, "held_out": 500}
    usual = (_SMOKE if smoke else _USUAL)[network]
    if given.get("start") is not None:
        # what the warm start is for is there already
        usual = {**usual, "paired_steps": 0, **_size_of(given)}
    return parse_job({**scenes, **usual, "network": network, **given})


def parse_job(fields: Mapping[str, Any]) -> Job:
    """Make a job of all its fields; see `make_job`."""
    try:
        job = Job.model_validate(fields)
    except ValidationError as error:
        wrong = error.errors()[0]
        name = ".".join(map(str, wrong["loc"]))
        raise ConfigError(f"train: {name}: {wrong['msg']}, got {wrong['input']!r}") from error
    if not job.phases:
        raise ConfigError(f"train {job.network}: no steps to take; set --steps or --paired-steps")
    return job


def _size_of(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the size of the generator that is begun with."""
    _, size = read_start(given["start"])
    for name, value in size.items():
        if given.get(name, value) != value:
            raise ConfigError(
                f"--start: the generator in {given['start']} has {name} {value}, got "
                f"{given[name]}; leave the option out"
            )
    return size


# Weights that a training begins with.


def read_start(path: str | Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read weights of a generator to begin with.

    Parameters
    ----------
    path : a safetensors file written by `operando train cyclegan`.

    Returns
    -------
    Its tensors, and the arguments of its class.

    Raises
    ------
    ConfigError
        If there are none in that file.
    """
    try:
        found = fetch("generator", path)
    except WeightsError as error:
        raise ConfigError(f"--start: {error}") from error
    own = {k: t for k, t in found.tensors.items() if not k.startswith(FEATURES)}
    return own, found.about["arguments"]


# Settings of a training.


class TrainSettings(BaseModel):
    """Settings of the training loop, whichever the network."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    steps: int = Field(default=8000, ge=1, description="optimiser steps, in all")
    batch: int = Field(default=32, ge=1, description="images per step")
    rate: float = Field(default=2e-3, gt=0, description="highest learning rate")
    warmup: int = Field(default=200, ge=0, description="steps until the rate is reached")
    seed: int = Field(default=0, ge=0, description="seed of weights, order and augmentation")
    score_every: int = Field(default=250, ge=1, description="steps between held-out scores")
    patience: int = Field(
        default=12, ge=1, description="scores without a better one after which training ends early"
    )
    mixed: bool = Field(
        default=True, description="compute in bfloat16 where the device is faster for it"
    )
