"""The whole scan of the literature: 143 energies, nine particles, flats after each energy."""

from __future__ import annotations

import pandas as pd
import pytest

from operando.callbacks import StreamProcessor
from operando.streamer.lab.evaluate.accuracy import score
from operando.streamer.lab.simulate import Simulator, preset, simulate_documents

pytestmark = pytest.mark.slow


def test_the_paper_like_scan_meets_its_promise():
    simulator = Simulator(preset("paper"))
    rows, stops = [], []

    def keep(name, doc):
        if name == "event" and "roi" in doc["data"]:
            rows.append({k: v for k, v in doc["data"].items() if k != "roi"})
        elif name == "stop":
            stops.append(doc)

    processor = StreamProcessor("sim_txm")
    processor.subscribe(keep)
    for name, doc in simulate_documents(simulator=simulator, order="fxi"):
        processor(name, doc)
    processor.close()
    final = score(pd.DataFrame(rows), simulator.truth)
    first = score(pd.DataFrame(rows), simulator.truth, revision="first")
    assert final.overall.rms <= 0.13
    assert final.overall.p95 <= 0.3
    assert final.step <= 0.26
    assert final.within["below"].rms <= 0.07
    assert final.within["above"].rms <= 0.03
    assert first.overall.rms <= 0.25
    assert first.within["above"].rms <= 0.05
    assert min(final.recall, first.recall) >= 0.99
    assert final.switches == first.switches == 0
    assert final.false_tracks == 0
    ledger = stops[0]["ledger"]
    assert ledger["balanced"]
    assert ledger["aligned"] == 143
    # once by its flat, once when the whole scan is known
    assert ledger["revised"] == 2 * 143
