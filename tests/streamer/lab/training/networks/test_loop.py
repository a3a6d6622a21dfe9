"""The loop: rates, scores, early end, and going on."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import nn

from operando.streamer.lab.training.job import TrainSettings
from operando.streamer.lab.training.loop import Training, rate_at


class Line:
    """A line through points, whose score follows a given course."""

    aim = "score"

    def __init__(self, course=None) -> None:
        torch.manual_seed(0)
        self.network = nn.Linear(1, 1)
        self.networks: dict[str, nn.Module] = {"line": self.network}
        self.optimiser = torch.optim.SGD(self.network.parameters(), lr=0.1)
        self.course = course
        self.rates: list[float] = []

    def step(self, rate):
        self.rates.append(rate)
        x = torch.linspace(-1, 1, 9)[:, None]
        loss = (self.network(x) - 2 * x - 1).square().mean()
        self.optimiser.param_groups[0]["lr"] = rate
        self.optimiser.zero_grad()
        loss.backward()
        self.optimiser.step()
        return {"loss": loss.item()}

    def score(self):
        if self.course is not None:
            return {"score": next(self.course)}
        return {"score": -abs(self.network.bias.item() - 1)}

    def state(self):
        return {"network": self.network.state_dict(), "optimiser": self.optimiser.state_dict()}

    def restore(self, state):
        self.network.load_state_dict(state["network"])
        self.optimiser.load_state_dict(state["optimiser"])


def settings(**changes) -> TrainSettings:
    return TrainSettings(
        **{"steps": 60, "rate": 0.1, "warmup": 5, "score_every": 10, "patience": 3} | changes
    )


def test_rates_rise_and_fall():
    s = settings(steps=1000, warmup=100)
    rates = [rate_at(k, s) for k in range(1001)]
    assert rates[0] == pytest.approx(0.001)
    assert max(rates) == rates[99] == rates[100] == pytest.approx(0.1)
    assert rates[100:] == sorted(rates[100:], reverse=True)
    assert rates[1000] == pytest.approx(0.001)
    assert rate_at(0, settings(warmup=0)) == pytest.approx(0.1)


def test_it_learns_and_tells():
    task = Line()
    told = list(Training(task=task, settings=settings()).run(every=5))
    assert [p.step for p in told] == list(range(5, 61, 5))
    assert [p.step for p in told if p.scores] == list(range(10, 61, 10))
    assert told[-1].losses["loss"] < 0.1 * told[0].losses["loss"]
    assert task.rates == [rate_at(k, settings()) for k in range(60)]


def test_the_best_weights_are_kept():
    training = Training(task=Line(iter([0.1, 0.5, 0.3, 0.2])), settings=settings(steps=40))
    copies = {}
    for progress in training.run(every=10):
        copies[progress.step] = training.task.networks["line"].weight.item()
        assert progress.improved == (progress.step <= 20)
    assert (training.best, training.best_step) == (0.5, 20)
    assert training.weights["line"]["weight"].item() == copies[20] != copies[40]


def test_it_ends_early_when_nothing_gets_better():
    training = Training(task=Line(iter([0.1, 0.5, *[0.4] * 9])), settings=settings(steps=1000))
    assert [p.step for p in training.run(every=1000)][-1] == 50
    assert training.ended
    assert list(training.run()) == []


def test_it_does_not_end_early_while_it_gets_better():
    training = Training(task=Line(itertools.count()), settings=settings())
    assert [p.step for p in training.run()][-1] == 60


def test_what_it_begins_with_can_be_judged():
    training = Training(task=Line(iter([0.9, 0.2, 0.1])), settings=settings(steps=20))
    first = training.judge()
    assert first.scores == {"score": 0.9}
    assert first.step == 0
    list(training.run())
    assert training.best_step == 0


@pytest.mark.parametrize("pause", [5, 10, 25])
def test_a_pause_changes_nothing(pause):
    whole = Training(task=Line(), settings=settings())
    told = [(p.step, p.losses, p.scores) for p in whole.run(every=5)]

    first = Training(task=Line(), settings=settings())
    before = []
    for progress in first.run(every=5):
        before.append((progress.step, progress.losses, progress.scores))
        if progress.step == pause:
            break
    second = Training(task=Line(), settings=settings())
    torch.nn.init.zeros_(second.task.networks["line"].weight)
    second.restore(first.state())
    after = [(p.step, p.losses, p.scores) for p in second.run(every=5)]
    assert before + after == told
    for name, tensor in whole.weights["line"].items():
        assert torch.equal(second.weights["line"][name], tensor)
    assert (second.best, second.best_step) == (whole.best, whole.best_step)
