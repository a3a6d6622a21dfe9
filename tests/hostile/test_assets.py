"""No file outside the roots is read, nothing unfolds, and the next good file is read."""

from __future__ import annotations

import resource
import tracemalloc

import numpy as np
import pytest

from operando.streamer.core.frames import AssetRef
from operando.streamer.io.assets import AssetSettings, AssetStore

from .files import ASSETS, HDF5, STACK, Place


@pytest.fixture
def place(tmp_path):
    return Place.make(tmp_path)


@pytest.fixture
def store(place):
    store = AssetStore(AssetSettings(allowed_roots=(place.inside,), retry_for=0.0))
    yield store
    store.close()


@pytest.mark.timeout(60)
@pytest.mark.parametrize("case", ASSETS, ids=lambda case: case.name)
def test_hostile_files_are_refused_and_the_next_one_is_read(case, place, store):
    reference = case.reference(place)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    tracemalloc.start()
    with pytest.raises(case.error) as caught:
        store.read(reference)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(str(caught.value)) < 2000
    assert peak < 50e6
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200e3  # kB
    assert not place.canary.exists()
    good = AssetRef(
        kind=HDF5, uri=f"{place.inside}/a.h5", parameters={"dataset": "d"},
        start=0, stop=3, run="run", resource="good",
    )  # fmt: skip
    np.testing.assert_array_equal(store.read(good), STACK)
