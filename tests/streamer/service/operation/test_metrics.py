"""Metrics: what a real processor gives out is counted once, and nothing is kept of runs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from prometheus_client.parser import text_string_to_metric_families

from operando.callbacks import StreamProcessor
from operando.callbacks.sinks.buffer import BufferedSink
from operando.streamer.lab.simulate import SimSettings, simulate_documents
from operando.streamer.service.operation.metrics import Family, Metrics, of_counts


def samples(metrics):
    found = {}
    for family in text_string_to_metric_families(metrics.exposition().decode()):
        for sample in family.samples:
            found[sample.name, tuple(sorted(sample.labels.items()))] = sample.value
    return found


@pytest.fixture(scope="module")
def documents():
    settings = SimSettings(
        shape=(128, 128),
        n_particles=2,
        radius_px=(11, 14),
        energies=tuple(np.linspace(8350, 8360, 6)),
        chunk=1,
        jitter_px=0.5,
    )
    return list(simulate_documents(settings, order="flat_first"))


def test_frames_ledger_latency_and_rows_of_a_run(documents):
    metrics, rows = Metrics(), []
    processor = StreamProcessor("sim_txm")
    processor.subscribe(metrics)
    processor.subscribe(
        lambda name, doc: rows.append(doc) if doc["data"].keys() & {"state", "latency"} else None,
        "event",
    )
    frames = [i for i, (name, doc) in enumerate(documents) if name == "event"][-6:]
    bad = dict(documents[frames[2]][1])
    bad["data"] = {**bad["data"], "txm_image": np.full((1, 128, 128), np.nan)}
    given = list(documents)
    given[frames[2]] = ("event", bad)
    del given[frames[4]]
    processor.process(given)
    processor.close()
    found = samples(metrics)

    def value(name, **labels):
        return found.get((name, tuple(sorted(labels.items()))), 0.0)

    assert value("operando_ledger_frames_total", book="received", reason="") == 6
    good = value("operando_frames_total", status="aligned", reason="")
    degraded = sum(v for (n, labels), v in found.items() if ("status", "degraded") in labels)
    assert good + degraded == 4
    skipped = [
        k for k in found if k[0] == "operando_frames_total" and ("status", "skipped") in k[1]
    ]
    assert len(skipped) == 1
    assert value("operando_frames_total", status="dropped", reason="never_arrived") == 1
    assert value("operando_ledger_frames_total", book="dropped", reason="never_arrived") == 1
    assert value("operando_runs_total", exit_status="success", balanced="true") == 1
    assert value("operando_latency_seconds_count") == 5
    assert value("operando_runs_open") == 0
    assert value("operando_particle_rows_total") + value(
        "operando_frames_revised_total"
    ) + 5 == len(rows)


@dataclass(frozen=True)
class Counts:
    delivered: int = 3
    queued: int = 2
    last_error: str = "text is no number"


def test_all_numbers_of_a_part_become_metrics_and_nothing_else():
    metrics = Metrics()
    metrics.add(of_counts("part", Counts))
    found = samples(metrics)
    assert found["operando_part_delivered_total", ()] == 3
    assert found["operando_part_queued", ()] == 2
    assert not any("last_error" in name for name, _ in found)


def test_counts_of_a_real_sink_are_read_when_asked_for():
    metrics = Metrics()
    sink = BufferedSink(lambda name, doc: None)
    metrics.add(of_counts("sink", lambda: sink.counts))
    for number in range(4):
        sink("start", {"uid": str(number)})
    assert sink.close(10)
    found = samples(metrics)
    assert found["operando_sink_delivered_total", ()] == 4
    assert found["operando_sink_queued", ()] == 0


def test_a_number_that_cannot_be_read_costs_itself_alone(caplog):
    def broken():
        raise RuntimeError("gone")

    metrics = Metrics()
    metrics.add([Family(name="operando_broken", help="x", read=broken)])
    metrics.add([Family(name="operando_fine", help="x", read=lambda: {"a": 1.0}, label="part")])
    for _ in range(2):
        found = samples(metrics)
        assert found["operando_fine", (("part", "a"),)] == 1
        assert not any(name == "operando_broken" for name, _ in found)
    assert len([r for r in caplog.records if "operando_broken" in r.message]) == 1


def test_two_services_in_one_process_do_not_share_numbers():
    one, two = Metrics(), Metrics()
    one.processed(5, 0.1)
    assert samples(one)["operando_documents_total", ()] == 5
    assert samples(two)["operando_documents_total", ()] == 0
