"""Optical density of real battery particles at the Ni edge."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import olefile
import pytest

from operando.streamer.core.correct import CorrectSettings, apply, finish, init, update
from operando.streamer.core.frames import Frame, FrameKey, OpticalDensityFrame, Role

pytestmark = pytest.mark.data


def images(folder: Path, energy: str) -> list[np.ndarray]:
    made = []
    for path in sorted(folder.glob(f"*{energy}*.xrm")):
        with olefile.OleFileIO(str(path)) as ole:
            pixels = np.frombuffer(ole.openstream("ImageData1/Image1").read(), "<u2")
        made.append(pixels.reshape(1024, 1024).astype(np.float32))
    return made


@pytest.fixture(scope="module")
def corrected(shared_data) -> dict[tuple[int, int], OpticalDensityFrame]:
    """Optical density by (frame, revision): frame 0 at 8324 eV, frame 1 at 8354 eV."""
    folder = shared_data / "txm-ssrl-nca"
    settings, state = CorrectSettings(), init()
    raw: list[np.ndarray] = []
    corrections = []
    for number, energy in enumerate((8324.0, 8354.0)):
        name = f"{energy:07.1f}"
        sample = images(folder / "sample", name)[0]
        raw.append(sample)
        frames = [(Role.SAMPLE, 0.5, sample)]
        frames += [(Role.FLAT, 0.3, flat) for flat in images(folder / "flat", name)]
        for index, (role, exposure, image) in enumerate(frames):
            key = FrameKey(run="r", stream=role.value, data_key="ccd", seq_num=number, index=index)
            frame = Frame(
                key=key, role=role, energy=energy, exposure=exposure, time=0.0, image=image
            )
            state, made = update(state, frame, settings)
            corrections += made
    corrections += finish(state, settings)[1]
    return {(c.frame, c.revision): apply(raw[c.frame], c, settings) for c in corrections}


def test_final_values_equal_the_definition(corrected, shared_data):
    folder = shared_data / "txm-ssrl-nca"
    sample = images(folder / "sample", "08354.0")[0]
    flat = np.mean(images(folder / "flat", "08354.0"), axis=0)
    final = corrected[1, 1]
    with np.errstate(divide="ignore"):
        expected = -np.log((sample / 0.5) / (flat / 0.3))
    clear = final.valid & (sample > 0)
    assert np.abs(final.od - expected)[clear].max() < 1e-3
    assert not final.provisional
    assert 0.95 < final.valid.mean() < 0.99


def test_the_dark_strip_at_the_rim_is_masked(corrected):
    assert corrected[1, 1].valid[-6:, 100:].mean() < 0.01
    assert np.abs(corrected[1, 1].od).max() < 4


def test_particles_stand_out_at_the_white_line(corrected):
    """The two large particles are at (390, 630) and (720, 410)."""
    before, after = corrected[0, 1].od, corrected[1, 1].od
    background = np.median(after)
    for y, x in ((390, 630), (720, 410)):
        patch = np.s_[y - 40 : y + 40, x - 40 : x + 40]
        assert after[patch].mean() - background > 0.5
        assert 0.05 < before[patch].mean() - np.median(before) < 0.4


def test_flat_of_the_other_energy_is_close_to_the_final_value(corrected):
    provisional, final = corrected[1, 0], corrected[1, 1]
    assert provisional.provisional
    difference = (provisional.od - final.od)[provisional.valid & final.valid]
    assert abs(np.median(difference)) < 0.05
    assert difference.std() < 0.1


def test_estimated_illumination_takes_the_beam_out(corrected):
    estimated = corrected[0, 0]
    assert estimated.provisional
    middle = estimated.od[8:-40, 8:-8]
    smooth = middle[: middle.shape[0] // 32 * 32, : middle.shape[1] // 32 * 32]
    blocks = smooth.reshape(smooth.shape[0] // 32, 32, -1, 32).mean(axis=(1, 3))
    # The raw frame falls by a factor of 50 (OD 4) across the field.
    assert np.percentile(np.abs(blocks), 90) < 0.25
