import numpy as np
import pytest

from operando.streamer.config import load_settings
from operando.streamer.errors import RecordingError
from operando.streamer.io.recording.writer import RecordingWriter
from operando.streamer.lab.simulate import SimSettings, simulate_documents
from operando.streamer.lab.training.pool import CELLS
from operando.streamer.lab.training.recorded import recorded_crops, recorded_stacks, stack_crops

SETTINGS = SimSettings(shape=(160, 160), energies=(8340.0, 8360.0), n_particles=3, chunk=1)


@pytest.fixture(scope="module")
def recording(tmp_path_factory):
    folder = tmp_path_factory.mktemp("recording")
    for seed in (1, 2):
        changed = SETTINGS.model_copy(update={"seed": seed})
        with RecordingWriter(folder / f"{seed}.msgpack") as writer:
            for name, doc in simulate_documents(changed, order="flat_first"):
                writer(name, doc)
    return folder


def test_every_run_is_a_stack(recording):
    settings = load_settings("sim_txm")
    both = list(recorded_stacks(recording, settings))
    assert [stack.shape for stack in both] == [(2, 160, 160)] * 2
    (one,) = recorded_stacks(recording / "2.msgpack", settings)
    np.testing.assert_array_equal(one, both[1])


def test_crops_are_the_same_again_and_differ_from_each_other(recording):
    settings = load_settings("sim_txm")
    crops = recorded_crops(recording, settings, step=1, per_frame=3)
    assert crops.shape == (12, 1, CELLS, CELLS)
    assert crops.dtype == np.float16
    assert np.abs(crops.astype(np.float32)).max() <= 1
    assert len({crop.tobytes() for crop in crops}) > 6
    np.testing.assert_array_equal(crops, recorded_crops(recording, settings, step=1, per_frame=3))


def test_dark_crops_are_left_out():
    stack = np.zeros((2, 256, 256), np.float32)
    stack[0] = np.nan
    rng = np.random.default_rng(0)
    assert len(stack_crops(stack, 2, 3, rng)) == 3
    assert len(stack_crops(stack[:1], 2, 3, rng)) == 0


def test_frames_that_are_too_small_say_so():
    with pytest.raises(ValueError, match="smaller step"):
        stack_crops(np.zeros((1, 200, 300), np.float32), 2, 1, np.random.default_rng(0))


def test_nothing_to_read(tmp_path):
    with pytest.raises(RecordingError):
        recorded_crops(tmp_path / "none.msgpack", load_settings("sim_txm"))


@pytest.mark.data
def test_crops_of_a_beamline_look_like_the_simulated_ones(shared_data):
    folder = shared_data / "txm-ssrl-nca"
    crops = recorded_crops(folder, load_settings("ssrl_6_2c"), step=4, per_frame=2)
    assert crops.shape == (12, 1, CELLS, CELLS)
    values = crops.astype(np.float32)
    assert np.abs(np.median(values)) < 0.3
    assert 0.3 < np.percentile(values, 99) <= 1
