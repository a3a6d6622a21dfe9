"""The loop that all trainings share."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import nn

from .job import TrainSettings

Weights = dict[str, dict[str, torch.Tensor]]

# What can be trained.


class Task(Protocol):
    """One network, or several that are trained against each other, with their data.

    Attributes
    ----------
    networks : by name; what is saved.
    aim : key of `score` that is to become large; training keeps the weights of its best value.
    """

    networks: dict[str, nn.Module]
    aim: str

    def step(self, rate: float) -> Mapping[str, float]:
        """Take one step at this learning rate; returns the losses."""
        ...

    def score(self) -> Mapping[str, float]:
        """Scores on held-out data."""
        ...

    def state(self) -> dict[str, Any]:
        """Everything that a later `restore` needs to go on from here, as tensors and plain data."""
        ...

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state` returned."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """Where a training stands.

    Attributes
    ----------
    step : steps taken.
    losses : means since the progress before.
    scores : on held-out data; empty between scores.
    best : best value of the aim so far; it came at step `best_step`.
    improved : this one is the best so far.
    """

    step: int
    losses: Mapping[str, float]
    scores: Mapping[str, float] = field(default_factory=dict)
    best: float = -math.inf
    best_step: int = 0
    improved: bool = False


@dataclass(slots=True, kw_only=True)
class Training:
    """A training that can be interrupted, saved and resumed.

    Attributes
    ----------
    task : what is trained.
    settings : how.
    step : steps taken. best, best_step : best score so far, and when. weights : those of it.
    """

    task: Task
    settings: TrainSettings
    step: int = 0
    best: float = -math.inf
    best_step: int = 0
    weights: Weights = field(default_factory=dict)

    def run(self, every: int = 20) -> Iterator[Progress]:
        """Train; yields every `every` steps, and at each held-out score.

        Ends after ``settings.steps`` steps, or after ``settings.patience`` scores in a row that are
        not the best: the held-out score decides, never a loss.
        """
        s = self.settings
        sums: dict[str, float] = {}
        count = 0
        while not self.ended:
            for name, value in self.task.step(rate_at(self.step, s)).items():
                sums[name] = sums.get(name, 0.0) + value
            count += 1
            self.step += 1
            due = self.step % s.score_every == 0 or self.step == s.steps
            if not due and self.step % every:
                continue
            losses = {name: total / count for name, total in sums.items()}
            sums, count = {}, 0
            yield self.judge(losses) if due else self._progress(losses)
            if self.ended:
                return

    @property
    def ended(self) -> bool:
        """Whether all steps are taken, or the best score is too long ago."""
        s = self.settings
        scored = self.step % s.score_every == 0
        late = scored and self.step - self.best_step >= s.patience * s.score_every
        return late or self.step >= s.steps

    def state(self) -> dict[str, Any]:
        """What `restore` needs, as tensors and plain data."""
        return {
            "task": self.task.state(),
            "step": self.step,
            "best": self.best,
            "best_step": self.best_step,
            "weights": self.weights,
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on where a training of the same task stood."""
        self.task.restore(state["task"])
        self.step, self.best = int(state["step"]), float(state["best"])
        self.best_step, self.weights = int(state["best_step"]), state["weights"]

    def judge(self, losses: Mapping[str, float] | None = None) -> Progress:
        """Score the networks as they are, and keep their weights if they are the best so far."""
        scores = self.task.score()
        improved = scores[self.task.aim] > self.best
        if improved:
            self.best, self.best_step = scores[self.task.aim], self.step
            self.weights = {name: _copy(net) for name, net in self.task.networks.items()}
        return self._progress(losses or {}, scores, improved=improved)

    def _progress(
        self,
        losses: Mapping[str, float],
        scores: Mapping[str, float] | None = None,
        *,
        improved: bool = False,
    ) -> Progress:
        return Progress(
            step=self.step,
            losses=losses,
            scores=scores or {},
            best=self.best,
            best_step=self.best_step,
            improved=improved,
        )


def rate_at(step: int, settings: TrainSettings) -> float:
    """Learning rate: a linear warm-up, then half a cosine down to 1 % of the highest."""
    if step < settings.warmup:
        return settings.rate * (step + 1) / settings.warmup
    share = (step - settings.warmup) / max(settings.steps - settings.warmup, 1)
    return settings.rate * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * min(share, 1.0))))


def _copy(network: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {k: v.detach().cpu().clone() for k, v in network.state_dict().items()}


# The optimiser of paired training.


def optimiser(network: nn.Module, rate: float) -> torch.optim.AdamW:
    """AdamW (Loshchilov & Hutter 2019, arXiv 1711.05101); no decay of biases and norms."""
    decayed = [p for p in network.parameters() if p.ndim > 1]
    free = [p for p in network.parameters() if p.ndim <= 1]
    groups = [{"params": decayed, "weight_decay": 1e-3}, {"params": free, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=rate)


def set_rate(optimiser: torch.optim.Optimizer, rate: float) -> None:
    """Set the learning rate of all groups."""
    for group in optimiser.param_groups:
        group["lr"] = rate
