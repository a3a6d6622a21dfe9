"""The three tasks: what a step changes, what seeds determine, what a pause must not change."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from operando.models.networks.nets import Generator
from operando.streamer.lab.training.job import TrainSettings
from operando.streamer.lab.training.loop import Training
from operando.streamer.lab.training.paired import DualTask, PairedTask
from operando.streamer.lab.training.sets import FrameSet, RoiSet
from operando.streamer.lab.training.unpaired import CycleTask, statistics_kept

CPU = torch.device("cpu")


def settings(**changes) -> TrainSettings:
    usual = {"steps": 6, "batch": 4, "rate": 2e-3, "warmup": 2, "score_every": 3}
    return TrainSettings(**usual | changes)


@pytest.fixture(params=["dual", "paired", "cycle"])
def make(request, frame_sets, roi_sets):
    """Makes a task with these settings."""

    def made(s: TrainSettings):
        if request.param == "dual":
            return DualTask(*roi_sets, s, CPU, width=2)
        if request.param == "paired":
            return PairedTask(*frame_sets, s, CPU, width=2, blocks=1)
        train, held_out = frame_sets
        masks = train.mask.flip(0)
        return CycleTask(train.image, masks, held_out, s, CPU, width=2, blocks=1)

    return made


def copies(task) -> dict[str, list[torch.Tensor]]:
    return {n: [p.detach().clone() for p in net.parameters()] for n, net in task.networks.items()}


def same(one, other) -> bool:
    return all(torch.equal(a, b) for n in one for a, b in zip(one[n], other[n], strict=True))


def test_a_step_changes_every_parameter_of_every_network(make):
    task = make(settings())
    before = copies(task)
    losses = task.step(1e-3)
    assert all(math.isfinite(loss) for loss in losses.values())
    for name, old in before.items():
        # all but those right before a normalisation, which takes a constant away again
        changed = [not torch.equal(a, b) for a, b in zip(old, copies(task)[name], strict=True)]
        assert sum(changed) >= 0.9 * len(changed), name


def test_scores_have_the_aim(make):
    task = make(settings())
    scores = task.score()
    assert task.aim in scores
    assert 0 <= scores[task.aim] <= 1
    assert math.isfinite(scores["held_out_loss"])


def test_scoring_changes_nothing(make):
    one, other = make(settings()), make(settings())
    one.step(1e-3)
    one.score()
    one.step(1e-3)
    other.step(1e-3)
    other.step(1e-3)
    assert same(copies(one), copies(other))


def test_seeds_determine_everything(make):
    def trained(seed):
        task = make(settings(seed=seed))
        list(Training(task=task, settings=settings(seed=seed)).run())
        return copies(task)

    first = trained(1)
    torch.rand(7)  # somebody else draws numbers
    assert same(first, trained(1))
    assert not same(first, trained(2))


@pytest.mark.parametrize("mixed", [False, True])
def test_a_pause_changes_no_bit(make, tmp_path, mixed):
    s = settings(steps=8, mixed=mixed)
    whole = Training(task=make(s), settings=s)
    list(whole.run(every=4))

    first = Training(task=make(s), settings=s)
    next(first.run(every=4))
    torch.save(first.state(), tmp_path / "state.pt")
    second = Training(task=make(s), settings=s)
    second.restore(torch.load(tmp_path / "state.pt", weights_only=True))
    list(second.run(every=4))
    assert same(copies(whole.task), copies(second.task))
    assert whole.weights.keys() == second.weights.keys()
    for name, tensors in whole.weights.items():
        assert all(torch.equal(tensors[k], second.weights[name][k]) for k in tensors)


def test_the_dual_unet_learns(roi_sets):
    s = settings(steps=60, batch=8, rate=5e-3, warmup=5, score_every=60)
    task = DualTask(*roi_sets, s, CPU, width=4)
    before = task.score()
    list(Training(task=task, settings=s).run())
    after = task.score()
    assert before["iou"] < 0.6 < 0.75 < after["iou"]
    assert after["held_out_loss"] < 0.7 * before["held_out_loss"]


def test_the_generator_learns_with_pairs(frame_sets):
    s = settings(steps=60, batch=8, rate=5e-3, warmup=5, score_every=60)
    task = PairedTask(*frame_sets, s, CPU, width=2, blocks=1)
    before = task.score()
    list(Training(task=task, settings=s).run())
    after = task.score()
    assert before["f1"] < 0.6 < 0.8 < after["f1"]
    assert after["held_out_loss"] < 0.7 * before["held_out_loss"]


def test_the_cycle_closes_without_pairs(frame_sets):
    train, held_out = frame_sets
    s = settings(steps=60, batch=4, rate=2e-3, warmup=5, score_every=60)
    masks = train.mask.flip(0)
    task = CycleTask(train.image, masks, held_out, s, CPU, width=2, blocks=1)
    told = list(Training(task=task, settings=s).run(every=10))
    assert told[-1].losses["cycle"] < 0.7 * told[0].losses["cycle"]
    assert all(math.isfinite(v) for p in told for v in p.losses.values())


def test_what_nobody_could_see_teaches_nothing(roi_sets):
    train, held_out = roi_sets
    spoilt = RoiSet(roi=train.roi, clean=train.clean, mask=1 - train.mask, weight=train.weight * 0)
    task = DualTask(spoilt, held_out, settings(batch=24), CPU, width=2)
    assert task.step(1e-3)["clean"] == 0


def test_ignored_cells_teach_nothing(frame_sets):
    train, held_out = frame_sets
    mask = torch.full_like(train.mask, 255)
    task = PairedTask(FrameSet(image=train.image, mask=mask), held_out, settings(), CPU, 2, 1)
    before = copies(task)
    task.step(0.0)
    assert same(before, copies(task))
    assert task.step(1e-3)["loss"] == 0


def test_the_generator_begins_with_given_weights(frame_sets):
    train, held_out = frame_sets
    start = Generator(2, 1).state_dict()
    task = CycleTask(train.image, train.mask, held_out, settings(), CPU, 2, 1, start=start)
    for name, tensor in task.networks["generator"].state_dict().items():
        assert torch.equal(tensor, start[name])


def norms(network: nn.Module) -> list[torch.Tensor]:
    kinds = (m for m in network.modules() if isinstance(m, nn.BatchNorm2d))
    return [m.running_mean.clone() for m in kinds if m.running_mean is not None]


def test_statistics_are_those_of_the_frames_alone(frame_sets):
    train, held_out = frame_sets
    tasks = []
    for masks in (train.mask, 1 - train.mask):
        torch.manual_seed(0)
        start = Generator(2, 1).state_dict()
        tasks.append(CycleTask(train.image, masks, held_out, settings(), CPU, 2, 1, start=start))
        tasks[-1].step(0.0)
    one, other = (norms(task.to_mask) for task in tasks)
    assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))
    fresh = norms(Generator(2, 1))
    assert not all(torch.equal(a, b) for a, b in zip(one, fresh, strict=True))


def test_kept_statistics_go_on_afterwards():
    network = Generator(2, 1)
    with statistics_kept(network):
        network(torch.randn(2, 1, 16, 16))
    assert all((mean == 0).all() for mean in norms(network))
    network(torch.randn(2, 1, 16, 16))
    assert any((mean != 0).any() for mean in norms(network))
