"""A training from the first scene to the file of weights, with and without pauses."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
import torch

from operando.models.networks.nets import DualUNet, Generator
from operando.models.networks.weights import FEATURES, feature_distance, feature_statistics, fetch
from operando.streamer.errors import ConfigError, TrainingError
from operando.streamer.io.recording.writer import RecordingWriter
from operando.streamer.lab.simulate import SimSettings, simulate_documents
from operando.streamer.lab.training.job import Job, make_job
from operando.streamer.lab.training.loop import (
    COLUMNS,
    TrainingCheckpoint,
    TrainingLog,
    save_checkpoint,
)
from operando.streamer.lab.training.paired import DualTask
from operando.streamer.lab.training.pool import Pool, code_version, make_data
from operando.streamer.lab.training.run import (
    CHECKPOINT,
    LOG,
    Watch,
    read_checkpoint,
    run,
)

CPU = torch.device("cpu")
TINY = {
    "scenes": 16,
    "held_out": 4,
    "width": 2,
    "batch": 4,
    "score_every": 4,
    "steps": 8,
}
CYCLE = TINY | {"blocks": 1, "batch": 2, "steps": 4, "paired_steps": 4, "score_every": 2}


def job(network, **changes) -> Job:
    return make_job(network, (TINY if network == "dual-unet" else CYCLE) | changes)


@pytest.fixture(scope="module")
def pools(tmp_path_factory) -> Path:
    """Where scenes are kept, once for all tests."""
    return tmp_path_factory.mktemp("pools")


@pytest.fixture
def train(pools):
    """Run a job."""

    def made(this, folder, **options):
        return run(this, folder, device=CPU, pools=pools, **options)

    return made


class StopAt:
    """Stops a training at the n-th report of a phase."""

    def __init__(self, phase: str, step: int) -> None:
        self.at, self.now = (phase, step), ("", 0)

    def report(self, report) -> None:
        self.now = report.phase, report.progress.step

    @property
    def watch(self) -> Watch:
        return Watch(report=self.report, stop=lambda: self.now == self.at)


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / LOG).open(newline="") as file:
        return [{k: v for k, v in row.items() if k != "seconds"} for row in csv.DictReader(file)]


# --- what comes out


def test_a_dual_unet_that_says_what_it_is(train, tmp_path):
    outcome = train(job("dual-unet", seed=0), tmp_path)
    assert outcome.weights == tmp_path / "dual_unet.safetensors"
    found = fetch("dual_unet", outcome.weights)
    DualUNet(**found.about["arguments"]).load_state_dict(found.tensors)
    assert found.about["job"]["scenes"] == 16
    assert found.about["version"].startswith("0.")
    assert found.about["scores"]["quality"] == pytest.approx(outcome.scores["quality"], abs=1e-5)
    assert [row["step"] for row in rows(tmp_path)] == ["0", "4", "8"]


def test_the_scores_are_those_of_the_weights_in_the_file(train, tmp_path, pools):
    this = job("dual-unet")
    outcome = train(this, tmp_path)
    data = make_data(this, pools, 1, lambda *_: None)
    sets = data.train.roi_set(), data.held_out.roi_set()
    task = DualTask(*sets, this.settings("paired"), CPU, width=2)
    task.network.load_state_dict(fetch("dual_unet", outcome.weights).tensors)
    assert task.score() == pytest.approx(outcome.scores, nan_ok=True)


def test_a_generator_that_knows_its_frames(train, tmp_path, pools):
    this = job("cyclegan")
    outcome = train(this, tmp_path)
    found = fetch("generator", outcome.weights)
    own = {k: t for k, t in found.tensors.items() if not k.startswith(FEATURES)}
    generator = Generator(**found.about["arguments"])
    generator.load_state_dict(own)
    generator.eval()
    known = feature_statistics(found.tensors, CPU)
    assert known is not None
    frames = torch.from_numpy(make_data(this, pools, 1, lambda *_: None).train.frames).float()
    with torch.inference_mode():
        near = feature_distance(generator.translate(frames)[1], known)
        far = feature_distance(generator.translate(torch.full((1, 1, 128, 128), 0.9))[1], known)
    assert (near < known["ood.threshold"]).float().mean() > 0.7
    assert far > near.max()
    assert 0 <= found.about["unfamiliar_held_out"] <= 1
    phases = [(row["phase"], row["step"]) for row in rows(tmp_path)]
    steps = ("0", "2", "4")
    assert phases == [(phase, step) for phase in ("paired", "unpaired") for step in steps]


# --- pauses


@pytest.mark.parametrize(
    ("network", "phase", "step"),
    [
        ("dual-unet", "paired", 4),
        ("cyclegan", "paired", 2),
        ("cyclegan", "unpaired", 2),
    ],
)
def test_a_pause_changes_no_bit(train, tmp_path, network, phase, step):
    this = job(network)
    whole = train(this, tmp_path / "whole")
    first = train(this, tmp_path / "parts", watch=StopAt(phase, step).watch)
    assert first.weights is None
    assert not list((tmp_path / "parts").glob("*.safetensors"))
    again = read_checkpoint(tmp_path / "parts")
    second = train(Job(**again.job), tmp_path / "parts", resume=again)
    name = "dual_unet" if network == "dual-unet" else "generator"
    one, other = fetch(name, whole.weights), fetch(name, second.weights)
    assert all(torch.equal(one.tensors[k], other.tensors[k]) for k in one.tensors)
    assert second.scores == pytest.approx(whole.scores, nan_ok=True)
    assert rows(tmp_path / "parts") == rows(tmp_path / "whole")


def test_a_training_that_has_ended_is_only_written_again(train, tmp_path):
    first = train(job("dual-unet"), tmp_path)
    before = first.weights.read_bytes()
    first.weights.unlink()
    again = read_checkpoint(tmp_path)
    second = train(Job(**again.job), tmp_path, resume=again)
    content = [fetch("dual_unet", second.weights).tensors]
    second.weights.write_bytes(before)
    content.append(fetch("dual_unet", second.weights).tensors)
    assert all(torch.equal(content[0][k], content[1][k]) for k in content[0])


def test_another_training_is_not_overwritten(train, tmp_path):
    train(job("dual-unet", steps=4), tmp_path)
    with pytest.raises(TrainingError, match="holds a training already; go on with --resume"):
        train(job("dual-unet"), tmp_path)


def test_nothing_to_go_on_with(tmp_path):
    with pytest.raises(TrainingError, match="nothing to resume"):
        read_checkpoint(tmp_path)


class _Trap:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def test_a_checkpoint_is_never_unpickled(tmp_path):
    sprung = tmp_path / "sprung"
    torch.save({"format": 1, "job": _Trap(sprung)}, tmp_path / CHECKPOINT)
    with pytest.raises(TrainingError, match="damaged or other file"):
        read_checkpoint(tmp_path)
    assert not sprung.exists()


@pytest.mark.parametrize("length", [0, 10, 200, -30])
def test_a_damaged_checkpoint_is_refused(tmp_path, length):
    save_checkpoint(
        tmp_path / CHECKPOINT, TrainingCheckpoint(job={}, phase="paired", training={}, seconds=1.0)
    )
    content = (tmp_path / CHECKPOINT).read_bytes()
    (tmp_path / CHECKPOINT).write_bytes(content[:length])
    with pytest.raises(TrainingError, match="damaged or other file"):
        read_checkpoint(tmp_path)


@pytest.mark.parametrize("content", [{"format": 1}, [1], {"job": {}}, 3])
def test_other_data_is_refused(tmp_path, content):
    torch.save(content, tmp_path / CHECKPOINT)
    with pytest.raises(TrainingError, match="damaged or other file"):
        read_checkpoint(tmp_path)


def test_losses_that_are_not_finite_end_it(train, tmp_path, monkeypatch):
    monkeypatch.setattr(DualTask, "step", lambda self, rate: {"loss": float("nan")})
    with pytest.raises(TrainingError, match="'loss' is not finite; start again with a lower"):
        train(job("dual-unet"), tmp_path)


# --- what it begins with


def test_it_begins_with_given_weights(train, tmp_path):
    first = train(job("cyclegan", steps=0), tmp_path / "first")
    this = make_job(
        "cyclegan",
        {k: v for k, v in CYCLE.items() if k not in {"width", "blocks", "paired_steps"}}
        | {"start": str(first.weights)},
    )
    assert (this.width, this.blocks, this.phases) == (2, 1, ("unpaired",))
    train(this, tmp_path / "second")
    began = rows(tmp_path / "second")[0]
    assert float(began["held_out_loss"]) == pytest.approx(first.scores["held_out_loss"], rel=1e-3)
    with pytest.raises(ConfigError, match="has width 2, got 3; leave the option out"):
        make_job("cyclegan", {"start": str(first.weights), "width": 3})


def test_it_adapts_to_a_recording(train, tmp_path):
    path = tmp_path / "run.msgpack"
    settings = SimSettings(shape=(256, 256), energies=(8340.0, 8360.0), n_particles=3, chunk=1)
    with RecordingWriter(path) as writer:
        for name, doc in simulate_documents(settings, order="flat_first"):
            writer(name, doc)
    changes = {"recording": str(path), "profile": "sim_txm"}
    outcome = train(job("cyclegan", **changes), tmp_path / "out")
    about = fetch("generator", outcome.weights).about
    assert about["job"]["recording"] == str(path)
    # recorded frames are what it is for: the weights before adaptation are not an answer
    assert about["best_step"] > 0


def test_recorded_frames_that_are_too_small_say_so(train, tmp_path):
    path = tmp_path / "run.msgpack"
    settings = SimSettings(shape=(160, 160), energies=(8340.0,), n_particles=3, chunk=1)
    with RecordingWriter(path) as writer:
        for name, doc in simulate_documents(settings, order="flat_first"):
            writer(name, doc)
    with pytest.raises(TrainingError, match="256 x 256 px or more"):
        train(job("cyclegan", recording=str(path), profile="sim_txm"), tmp_path / "out")


# --- scenes


def test_scenes_are_made_once(tmp_path):
    made = []
    this = job("dual-unet")
    first = make_data(this, tmp_path, 1, lambda what, done, of: made.append(what))
    assert set(made) == {"scenes to train on", "scenes to score on"}
    made.clear()
    second = make_data(this, tmp_path, 1, lambda what, done, of: made.append(what))
    assert not made
    assert (first.train.frames == second.train.frames).all()
    assert len(list(tmp_path.iterdir())) == 2
    assert first.code == code_version()
    seeds = [set(map(tuple, p.seeds.tolist())) for p in (first.train, first.held_out)]
    assert not seeds[0] & seeds[1]


def test_two_trainings_may_make_the_same_scenes_at_once(tmp_path, monkeypatch):
    one, write = job("dual-unet"), Pool.save
    others = []

    def both(pool, path):
        write(pool, path)
        if not others:
            others.append(None)
            others.append(make_data(one, tmp_path, 1, lambda *_: None))

    monkeypatch.setattr(Pool, "save", both)
    data = make_data(one, tmp_path, 1, lambda *_: None)
    assert (data.train.frames == others[1].train.frames).all()
    assert len(list(tmp_path.iterdir())) == 2  # nothing is left over


def test_damaged_scenes_say_so(tmp_path):
    this = job("dual-unet")
    make_data(this, tmp_path, 1, lambda *_: None)
    for path in tmp_path.glob("pool-0-*"):
        path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(TrainingError, match="damaged; delete it, and it is made again"):
        make_data(this, tmp_path, 1, lambda *_: None)


# --- settings and the log


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"rate": -1.0}, "rate: Input should be greater than 0, got -1.0"),
        ({"scenes": 3}, "scenes"),
        ({"colour": 1}, "colour"),
        ({"steps": 0, "paired_steps": 0}, "no steps to take"),
    ],
)
def test_settings_that_cannot_be_used(changes, message):
    with pytest.raises(ConfigError, match=message):
        make_job("cyclegan", changes)


def test_the_log_forgets_what_came_after_the_checkpoint(tmp_path):
    path, phases = tmp_path / LOG, ("paired", "unpaired")
    log = TrainingLog(path, phases)
    for phase in phases:
        for step in (0, 10, 20):
            log.write(phase, step, 0.1, 1.0, {"loss": step / 3})
    log.close()
    TrainingLog(path, phases, keep=("unpaired", 10)).close()
    with path.open(newline="") as file:
        kept = list(csv.DictReader(file))
    assert tuple(kept[0]) == COLUMNS
    assert [(r["phase"], r["step"]) for r in kept][-2:] == [("unpaired", "0"), ("unpaired", "10")]
    assert len(kept) == 5
    assert kept[1]["loss"] == "3.33333"
    assert kept[1]["f1"] == ""


def test_a_log_of_something_else_is_not_overwritten(tmp_path):
    (tmp_path / LOG).write_text("a,b\n1,2\n")
    with pytest.raises(TrainingError, match="move it away"):
        TrainingLog(tmp_path / LOG, ("paired",), keep=("paired", 1))
    assert (tmp_path / LOG).read_text() == "a,b\n1,2\n"
