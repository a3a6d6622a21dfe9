"""Detectors on the real frames at the Ni edge."""

from __future__ import annotations

import matplotlib.image
import numpy as np
import pytest

from operando.streamer.config import load_settings
from operando.streamer.errors import ImportDataError
from operando.streamer.lab.bench.detection_real import detect_real, save_masks


@pytest.mark.data
def test_whole_particles_at_both_energies(shared_data, tmp_path):
    settings = load_settings("ssrl_6_2c", {"process": {"device": "cpu", "threads": 1}})
    result = detect_real(shared_data, ["threshold"], settings)
    assert result.energies.tolist() == [8324.0] * 3 + [8354.0] * 3
    assert len(result.images) == len(result.found["threshold"]) == 6
    assert (result.whole("threshold") >= 8).all()
    told = result.summary()["detectors"]["threshold"]
    assert told["whole"] == result.whole("threshold").tolist()
    assert (np.array(told["detected"]) > told["whole"]).all()
    (path,) = save_masks(result, tmp_path / "new")
    image = matplotlib.image.imread(path)[..., :3]
    coloured = (image.max(axis=-1) - image.min(axis=-1)) > 0.4
    assert coloured.sum() > 5000


def test_missing_data_are_named(tmp_path):
    with pytest.raises(ImportDataError, match="txm-ssrl-nca"):
        detect_real(tmp_path, ["threshold"], load_settings("ssrl_6_2c"))
