"""Time, operations and bytes."""

from __future__ import annotations

import math

import pytest
import torch

from operando.streamer.lab.bench.harness import machine, sample_events
from operando.streamer.lab.bench.paper_speed import (
    Throughput,
    cost_per_frame,
    measure_speed,
    on_cuda,
    throughputs,
)


def test_sample_events_are_those_of_the_primary_stream(series):
    chosen = sample_events(series.documents)
    assert len(chosen) == series.truth.n_frames
    names = {doc["uid"]: doc["name"] for name, doc in series.documents if name == "descriptor"}
    assert {names[series.documents[i][1]["descriptor"]] for i in chosen} == {"primary"}


def test_all_frames_are_processed_whether_live_or_in_batches(series, settings):
    seen = []
    live = measure_speed(series.documents, settings, progress=lambda *_: seen.append(1))
    queued = measure_speed(series.documents, settings, batch=8)
    assert live.frames == queued.frames == 14
    assert live.particles == queued.particles == 3
    assert len(seen) == len(series.documents) - 1
    assert 0 < live.median < live.seconds
    assert math.isnan(queued.median)
    assert live.rate == pytest.approx(14 / live.seconds)


def test_a_throughput_reads_as_one_line(series, settings):
    speed = measure_speed(series.documents, settings)
    cost = cost_per_frame(series.documents, settings)
    line = str(Throughput(side=220, live=speed, queued=speed, cost=cost))
    assert line.startswith("220 x 220: ")
    assert "GFLOP" in line
    assert "\n" not in line


def test_the_device_is_named(settings):
    told = machine("cpu", 3)
    assert "3 of" in told
    assert "load" in told
    assert not told.startswith(",")
    assert not on_cuda(settings)
    assert list(throughputs(settings, 0)) == []


@pytest.mark.gpu
@pytest.mark.slow
def test_both_sizes_are_measured_on_a_gpu(settings):
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    process = settings.process.model_copy(update={"device": "cuda"})
    found = list(throughputs(settings.model_copy(update={"process": process}), 0))
    assert [one.side for one in found] == [460, 2048]
    assert all(one.queued.rate > 0 and one.cost.bytes > 0 for one in found)
