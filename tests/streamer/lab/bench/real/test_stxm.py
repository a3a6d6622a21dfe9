"""The measured stack, and the motion that is put into it."""

from __future__ import annotations

import event_model
import numpy as np
import pytest
from skimage.registration import phase_cross_correlation

from operando.streamer.errors import ImportDataError
from operando.streamer.lab.bench.real_stack import (
    EnergyStack,
    load_stack,
    load_trace,
    margin_for,
    move,
    stack_documents,
    stxm_settings,
)
from operando.streamer.lab.evaluate.similarity import od_stack


def blob(centre: tuple[float, float]) -> np.ndarray:
    """Counts behind a smooth particle."""
    y, x = np.mgrid[:60, :50]
    r2 = (y - centre[0]) ** 2 + (x - centre[1]) ** 2
    return (400 * np.exp(-np.exp(-r2 / 50))).astype(np.float32)


@pytest.fixture
def simple() -> EnergyStack:
    energies = np.array([700.0, 710.0, 720.0])
    counts = np.stack([blob((30, 25))] * 3)
    incident = np.array([400.0, 410.0, 420.0])
    return EnergyStack(counts=counts, incident=incident, energies=energies, motion=np.zeros((3, 2)))


def test_the_sample_moves_by_the_motion(simple):
    motion = np.array([[0.0, 0.0], [1.3, -0.6], [-2.45, 0.15]])
    moved = move(simple, motion)
    margin = margin_for(motion)
    assert margin == 5
    assert moved.counts.shape == (3, 60 - 2 * margin, 50 - 2 * margin)
    for image, (dy, dx) in zip(moved.counts, motion, strict=True):
        wanted = blob((30 + dy, 25 + dx))[margin:-margin, margin:-margin]
        assert np.abs(image - wanted).max() < 0.02
    np.testing.assert_array_equal(moved.motion, motion)
    np.testing.assert_array_equal(moved.energies, simple.energies)


def test_at_rest_no_pixel_is_resampled(simple):
    still = move(simple, np.zeros((3, 2)), margin=5)
    np.testing.assert_array_equal(still.counts, simple.counts[:, 5:-5, 5:-5])


def test_energies_have_their_regions(simple):
    assert list(simple.region) == ["below", "at", "above"]


def test_documents_are_valid_and_give_the_optical_density(simple):
    stream = list(stack_documents(simple))
    for name, doc in stream:
        if name != "event":
            event_model.schema_validators[event_model.DocumentNames[name]].validate(doc)
    assert [name for name, _ in stream].count("event") == 6
    od = od_stack(stream, stxm_settings("cpu"))
    np.testing.assert_allclose(od, simple.od, atol=1e-5)


def test_other_motion_is_another_run(simple):
    runs = {
        next(stack_documents(move(simple, np.full((3, 2), by), 3)))[1]["uid"] for by in (0, 0.1)
    }
    assert len(runs) == 2


def test_missing_data_are_named(tmp_path):
    with pytest.raises(ImportDataError, match=r"wanted stxm-toner-fe2p/71214078\.h5"):
        load_stack(tmp_path)
    with pytest.raises(ImportDataError, match="drift-traces"):
        load_trace(tmp_path, 3, 1.0)


@pytest.mark.data
class TestMeasured:
    """The stack of the Fe L edge and the trace of a living specimen."""

    def test_stack(self, shared_data):
        stack = load_stack(shared_data)
        assert stack.counts.shape == (123, 125, 125)
        assert (stack.energies[0], stack.energies[-1]) == (700.0, 730.353)
        assert (np.diff(stack.energies) > 0).all()
        assert set(stack.region) == {"below", "at", "above"}
        # iron is in it: the densest parts gain at the white line
        dense = stack.od[:, 10:30, 85:100].mean(axis=(1, 2))
        assert dense[stack.region == "at"].max() > 1.15 * dense[stack.region == "below"].mean()

    def test_trace(self, shared_data):
        trace = load_trace(shared_data, 123, 3.0)
        assert trace.shape == (123, 2)
        np.testing.assert_allclose(trace[:2], [[0.3, -1.2], [0.6, 0.0]])
        with pytest.raises(ImportDataError, match="wanted 10000 frames, got 3000"):
            load_trace(shared_data, 10_000, 1.0)

    def test_images_are_where_the_trace_says(self, shared_data):
        """Independent of the processor: each moved image against the same image at rest."""
        stack = load_stack(shared_data)
        motion = load_trace(shared_data, len(stack.energies), 3.0)
        margin = margin_for(motion)
        moved, still = move(stack, motion, margin), move(stack, 0 * motion, margin)
        window = np.outer(*[np.hanning(n) for n in moved.counts.shape[1:]])
        for frame in range(0, len(motion), 15):
            a, b = (s.od[frame] - s.od[frame].mean() for s in (still, moved))
            shift, _, _ = phase_cross_correlation(
                a * window, b * window, upsample_factor=50, normalization=None
            )
            assert np.abs(-shift - motion[frame]).max() < 0.12, frame
