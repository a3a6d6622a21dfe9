from __future__ import annotations

from operando.callbacks import StreamProcessor
from operando.callbacks.stock import ResultSummary
from operando.streamer.lab.simulate import SimSettings, simulate_documents

SETTINGS = SimSettings(shape=(200, 200), n_particles=3, radius_px=(14, 20), n_energies=5)


def test_it_counts_what_came_out():
    summary = ResultSummary()
    processor = StreamProcessor(clock=lambda: 1_700_000_100.0)
    processor.subscribe(summary)
    assert summary.newest is None
    for name, doc in simulate_documents(SETTINGS, order="fxi"):
        processor(name, doc)
    run = summary.newest
    assert run is not None
    assert run.frames == 5
    assert run.revised == 5
    assert run.statuses == {"aligned": 5}
    assert len(run.latencies) == 5
    assert run.stop is not None
    whole = [p for p in run.particles.values() if len(p.frames) == 5]
    assert len(whole) == 3
    assert all(p.state == "tracked" and p.area > 100 for p in whole)


def test_old_runs_are_forgotten():
    summary = ResultSummary(max_runs=2)
    for number in range(4):
        summary("start", {"uid": str(number), "original_run_uid": f"raw {number}"})
        summary("stop", {"run_start": str(number)})
    assert list(summary.runs) == ["2", "3"]
    assert summary.newest is not None
    assert summary.newest.raw == "raw 3"
