"""The runner, its tables and its files, with detectors whose answers are known."""

from __future__ import annotations

import csv
import json
from dataclasses import replace

import matplotlib.image
import numpy as np
import pytest

from operando.models.detector import DETECTORS
from operando.streamer.config import load_settings
from operando.streamer.errors import ConfigError
from operando.streamer.lab.bench.detection import run_regime, usable_detectors
from operando.streamer.lab.bench.detection_report import recall_by_contrast, report, rows
from operando.streamer.lab.bench.regimes import DETECTION

BLIND = "operando_blind:BlindDetector"


@pytest.fixture(scope="module")
def settings():
    return load_settings("sim_txm", {"process": {"device": "cpu", "threads": 1}})


@pytest.fixture(scope="module")
def regime():
    changes = {"shape": (220, 220), "n_particles": 4, "radius_px": (12, 22), "chunk": 1}
    return replace(
        DETECTION["above"], number=99_999, changes=changes, energies=(8280.0, 8380.0), samples=2
    )


@pytest.fixture(scope="module")
def blind(tmp_path_factory):
    """A detector from elsewhere that never sees anything."""
    folder = tmp_path_factory.mktemp("plugin")
    (folder / "operando_blind.py").write_text(
        "from operando.models.detector import Detections\n"
        "class BlindDetector:\n"
        "    name = 'blind'\n"
        "    def __init__(self, settings, device):\n"
        "        pass\n"
        "    def detect(self, od, valid):\n"
        "        return [Detections.empty(tuple(od.shape[-2:])) for _ in od]\n"
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(folder))
        yield BLIND


@pytest.fixture(scope="module")
def steps():
    return []


@pytest.fixture(scope="module")
def result(regime, settings, blind, steps):
    names = ("threshold", blind)
    return run_regime(regime, names, settings, progress=lambda _, n, of: steps.append((n, of)))


def test_all_detectors_see_the_same_frames(result, steps):
    ours, blind = result.detectors["threshold"], result.detectors[BLIND]
    asked = len(result.contrast)
    assert result.frames == 4
    assert 0 < asked <= 16
    assert ours.score.recall >= 0.9
    assert ours.score.precision >= 0.9
    assert ours.score.position_median < 1
    assert ours.found.sum() == ours.score.tp
    assert (blind.score.tp, blind.score.fn, blind.score.misses) == (0, asked, {"unseen": asked})
    assert not blind.found.any()
    assert min(ours.spent.clock, ours.spent.processor, blind.spent.clock) > 0
    assert ours.best.f1 >= ours.score.f1
    assert steps == [(0, 2), (1, 2), (2, 2)]


def test_recall_by_contrast_counts_every_particle_once(result):
    told = recall_by_contrast([result, result])
    assert list(told) == ["threshold", BLIND]
    for name, classes in told.items():
        assert sum(one["required"] for one in classes) == 2 * len(result.contrast)
        found = sum(one["found"] for one in classes)
        assert found == 2 * result.detectors[name].score.tp
    assert recall_by_contrast([]) == {}


def test_the_report(result, settings, tmp_path):
    left_out = {"networks": "no weights"}
    paths = report([result], settings, left_out, quick=True).write(tmp_path / "new")
    content = json.loads(paths[0].read_text(), parse_constant=lambda name: pytest.fail(name))
    assert content["left_out"] == left_out
    assert content["threshold"] == settings.link.min_score
    told = content["regimes"]["above"]
    score = result.detectors["threshold"].score
    assert told["detectors"]["threshold"]["score"]["f1"] == score.f1
    assert told["detectors"][BLIND]["score"]["iou"] is None
    assert told["seeds"] == list(result.seeds)
    assert min(told["seeds"]) >= content["first_seed"]
    with paths[1].open() as file:
        table = list(csv.DictReader(file))
    assert [row["detector"] for row in table] == ["threshold", BLIND]
    assert float(table[0]["f1"]) == pytest.approx(score.f1)
    assert table[1]["misses"] == f"{len(result.contrast)} unseen"
    image = matplotlib.image.imread(paths[2])
    assert image.shape[0] > 500
    assert image[..., :3].std() > 0.05


def test_rows_have_one_line_per_detector(result):
    table = rows([result])
    assert table["required"].tolist() == [len(result.contrast)] * 2
    assert np.isfinite(table[["frame_ms", "cpu_ms"]]).all(axis=None)


def test_what_cannot_be_made_is_left_out_unless_it_was_asked_for(settings, blind, monkeypatch):
    monkeypatch.setitem(DETECTORS, "missing", "operando.models.nowhere:Nothing")
    names, left_out = usable_detectors((), settings)
    assert "threshold" in names
    assert "missing" in left_out
    assert "operando.models.nowhere" in left_out["missing"]
    assert usable_detectors([blind], settings) == ((blind,), {})
    with pytest.raises(ConfigError, match="'missing' cannot be made"):
        usable_detectors(["threshold", "missing"], settings)
