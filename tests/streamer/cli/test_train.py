"""``operando train`` as a user runs it."""

from __future__ import annotations

import csv
import signal

import pytest

from operando.models.networks.weights import fetch
from operando.streamer.cli.train import TrainProgress

TINY = [
    *("--scenes", 16, "--held-out", 4, "--width", 2, "--batch", 4, "--steps", 60),
    *("--score-every", 30, "--threads", 1),
]


def column(folder, name: str) -> list[float]:
    with (folder / "log.csv").open(newline="") as file:
        return [float(row[name]) for row in csv.DictReader(file) if row[name]]


@pytest.mark.slow
def test_smoke_of_the_dual_unet_learns(run_cli, tmp_path):
    ended = run_cli("train", "dual-unet", "--smoke", "--threads", 1, "--out", tmp_path)
    assert ended.status == 0, ended.err
    losses, quality = column(tmp_path, "held_out_loss"), column(tmp_path, "quality")
    # the first row is the network before its first step
    assert losses[-1] < 0.75 * losses[0]
    assert quality[0] < 0.4 < 0.55 < max(quality)
    about = fetch("dual_unet", tmp_path / "dual_unet.safetensors").about
    assert about["scores"]["quality"] > 0.55
    assert about["scores"]["iou"] > 0.6
    assert "quality" in ended.out


@pytest.mark.slow
def test_smoke_of_the_cyclegan_learns(run_cli, tmp_path):
    ended = run_cli("train", "cyclegan", "--smoke", "--threads", 1, "--out", tmp_path)
    assert ended.status == 0, ended.err
    losses, f1 = column(tmp_path, "held_out_loss"), column(tmp_path, "f1")
    assert min(losses) < 0.6 * losses[0]
    assert f1[0] < 0.15 < 0.3 < max(f1)
    scores = fetch("generator", tmp_path / "cyclegan.safetensors").about["scores"]
    assert scores["f1"] > 0.3
    assert scores["iou"] > 0.65
    assert len(column(tmp_path, "cycle")) > 0


def test_ctrl_c_keeps_a_checkpoint_that_can_be_gone_on_with(run_cli, tmp_path, monkeypatch):
    out, shown = tmp_path / "out", TrainProgress.report

    def interrupt(self, report):
        shown(self, report)
        if report.progress.step == 20:
            signal.raise_signal(signal.SIGINT)

    with monkeypatch.context() as patched:
        patched.setattr(TrainProgress, "report", interrupt)
        ended = run_cli("train", "dual-unet", *TINY, "--out", out)
    assert ended.status == 130
    assert f"go on with: operando train dual-unet --out {out} --resume" in ended.err
    assert column(out, "step")[-1] == 20
    assert not (out / "dual_unet.safetensors").exists()

    ended = run_cli("train", "dual-unet", "--out", out, "--resume", "--width", 3)
    assert ended.status == 1
    assert "this training has width 2, got 3; leave the option out" in ended.err

    ended = run_cli("train", "dual-unet", "--out", out, "--resume", "--threads", 1)
    assert ended.status == 0, ended.err
    assert column(out, "step")[-1] == 60
    assert fetch("dual_unet", out / "dual_unet.safetensors").about["job"]["steps"] == 60


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--resume"], "nothing to resume"),
        (["--rate", "-1"], "rate: Input should be greater than 0"),
        (["--device", "abacus"], "wanted 'auto', 'cpu', 'cuda'"),
    ],
)
def test_wrong_options_are_told_in_a_line(run_cli, tmp_path, arguments, message):
    ended = run_cli("train", "dual-unet", "--out", tmp_path, *arguments)
    assert ended.status == 1
    assert message in ended.err
    assert "Traceback" not in ended.err


def test_a_start_that_is_not_there(run_cli, tmp_path):
    ended = run_cli("train", "cyclegan", "--out", tmp_path, "--start", tmp_path / "none")
    assert ended.status == 1
    assert "--start: weights of the generator: cannot read" in ended.err
