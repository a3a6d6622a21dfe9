"""Documents and files of ophyd's simulated detectors, through a RunEngine, to frames."""

from __future__ import annotations

import numpy as np
import pytest
from bluesky import RunEngine
from bluesky.plans import count, scan
from ophyd.sim import SynSignal, SynSignalWithRegistry, hw

from operando.streamer.core import assemble
from operando.streamer.core.assemble import frames_from_chunk
from operando.streamer.core.frames import FrameRef


@pytest.fixture
def run_plan():
    """Run a plan and assemble what it emits."""

    def run(plan, **settings):
        engine = RunEngine({}, context_managers=[])
        state = assemble.init(assemble.AssembleSettings(**settings))
        out = []

        def take(name, doc):
            nonlocal state
            state, more = assemble.update(state, name, doc)
            out.extend(more)

        engine(plan, take)
        engine.loop.call_soon_threadsafe(engine.loop.stop)
        engine._th.join(5)
        engine.loop.close()
        return [o for o in out if isinstance(o, FrameRef)], out

    return run


def test_the_image_files_of_hw_img(tmp_path, new_store, run_plan):
    device = hw(save_path=str(tmp_path)).img
    refs, _ = run_plan(count([device], 3))
    store = new_store()
    assert len(refs) == 3
    for ref in refs:
        assert ref.asset.kind == "NPY_SEQ"
        (frame,) = frames_from_chunk(ref, store.read(ref.asset))
        np.testing.assert_array_equal(frame.image, np.ones((10, 10), np.float32))


def test_the_in_line_images_of_hw_direct_img(run_plan):
    refs, _ = run_plan(count([hw().direct_img], 2))
    assert [frames_from_chunk(r, r.array)[0].image.shape for r in refs] == [(10, 10)] * 2
    assert {r.key.data_key for r in refs} == {"img"}


def test_the_nested_lists_of_hw_direct_img_list(run_plan):
    refs, _ = run_plan(count([hw().direct_img_list], 2))
    assert [frames_from_chunk(r, r.array)[0].image.shape for r in refs] == [(10, 10)] * 2


def test_an_energy_scan_with_chunks_in_files(tmp_path, new_store, run_plan):
    energy = hw().motor
    energy.name = energy.readback.name = "energy"

    def expose():
        return np.full((3, 16, 20), energy.position, np.float32) + np.arange(3)[:, None, None]

    camera = SynSignalWithRegistry(name="camera", func=expose, save_path=str(tmp_path))
    refs, _ = run_plan(scan([camera], energy, 8300, 8340, 3))
    store = new_store()
    assert [r.energy for r in refs] == [8300, 8320, 8340]
    for ref in refs:
        (frame,) = frames_from_chunk(ref, store.read(ref.asset))
        assert frame.n_averaged == 3
        assert (frame.image == ref.energy + 1).all()


def test_a_scalar_detector_is_declined(run_plan):
    refs, out = run_plan(count([SynSignal(name="det", func=lambda: 1.0)], 2))
    assert not refs
    assert [type(o).__name__ for o in out] == ["RunStarted", "Declined", "RunStopped"]
