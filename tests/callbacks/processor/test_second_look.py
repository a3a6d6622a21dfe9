"""What the second look at a scan leaves as it was: verdicts, gauge and frame of reference."""

from __future__ import annotations

import copy
import itertools

import numpy as np
import pandas as pd
from helpers.results import events
from scipy.ndimage import gaussian_filter

from operando.callbacks import StreamProcessor
from operando.streamer.config import load_settings
from operando.streamer.lab.simulate import SimSettings, Simulator, simulate_documents

SMALL = SimSettings(
    shape=(260, 260),
    n_particles=4,
    radius_px=(16, 26),
    energies=tuple(np.linspace(8360, 8400, 10)),
    jitter_px=1.5,
    drift_px=4.0,
)


def settings(**registration):
    return load_settings(None, {"registration": {"whole_scan_frames": 4, **registration}})


def process(documents, chosen):
    """Rows of frames and of particles, with the number of their run."""
    runs, names = {}, {}
    rows = {"frames": [], "particles": []}

    def take(name, doc):
        if name == "start":
            runs[doc["uid"]] = len(runs)
        elif name == "descriptor":
            names[doc["uid"]] = doc["name"], runs[doc["run_start"]]
        elif name == "event":
            stream, run = names[doc["descriptor"]]
            rows.setdefault(stream, []).append({**doc["data"], "run": run})

    processor = StreamProcessor(chosen)
    processor.subscribe(take)
    for name, doc in documents:
        processor(name, doc)
    processor.close()
    return pd.DataFrame(rows["frames"]), pd.DataFrame(rows["particles"])


def test_a_blurred_frame_stays_blurred():
    raw = copy.deepcopy(list(simulate_documents(SMALL, order="flat_first")))
    data = events(raw, "primary")[7]["data"]
    smooth = gaussian_filter(data["txm_image"].astype(np.float64), (0, 2.5, 2.5))
    data["txm_image"] = smooth.astype(np.uint16)
    frames, particles = process(raw, settings())
    told = frames[frames["frame"] == 7]
    assert list(told["revision"]) == [0, 1]
    assert list(told["status"]) == ["degraded", "degraded"]
    assert list(told["reason"]) == ["blurred", "blurred"]
    assert set(particles.loc[particles["frame"] == 7, "state"]) == {"coasting"}


def test_the_declared_gauge_is_that_of_revised_values_too():
    raw = list(simulate_documents(SMALL, order="flat_first"))
    frames, _ = process(raw, settings(gauge="background"))
    live, revised = (frames[frames["revision"] == n].set_index("frame") for n in (0, 1))
    assert len(live) == len(revised) == 10
    assert list(revised["gauge"]) == list(live["gauge"])
    assert (live["gauge"] == "background").sum() == 9
    drift = ["drift_y", "drift_x"]
    np.testing.assert_allclose(revised[drift], live[drift], atol=0.2)


def test_live_values_of_a_further_run_go_on_from_the_revised_ones():
    faint = {"energies": tuple(np.linspace(8320, 8400, 10)), "seed": 1, "wander_px": 1.0}
    simulator = Simulator(SMALL.model_copy(update={**faint, "scans": 2}))
    runs = [simulate_documents(simulator=simulator, order="flat_first", scan=n) for n in (0, 1)]
    _, particles = process(itertools.chain(*runs), settings())
    later = particles[particles["run"] == 1]
    live, revised = (
        later[later["revision"] == n].set_index(["frame", "particle"])[
            ["displacement_y", "displacement_x"]
        ]
        for n in (0, 1)
    )
    assert len(live) == len(revised) == 40
    # what the template calls the place of a particle is not its centre of mass
    assert np.abs((revised - live).groupby("particle").mean()).to_numpy().max() < 0.2
