"""Blurred frames among sharp ones, over an edge, with real masks of the detector."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter, uniform_filter1d

from operando.models.detector import make_detector
from operando.models.settings import DetectSettings
from operando.streamer.core.frames import FrameKey, OpticalDensityFrame
from operando.streamer.core.quality import QualitySettings, SharpnessState, assess

SHAPE = (220, 260)
DISCS = [(60, 60, 26), (60, 190, 20), (160, 70, 18), (155, 185, 30)]
DETECTOR = make_detector(DetectSettings(), torch.device("cpu"))


def frame(number, blur=None, *, contrast=1.0, noise=0.03):
    """Domes on a cloudy background, and what the detector sees of them."""
    rng = np.random.default_rng(number)
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    od = np.zeros(SHAPE)
    for cy, cx, r in DISCS:
        rho2 = ((y - cy - rng.normal(0, 2)) ** 2 + (x - cx) ** 2) / r**2
        od += contrast * np.sqrt(np.clip(1 - rho2, 0, None))
    od = gaussian_filter(od, 1.0) + 2 * gaussian_filter(rng.normal(0, 1, SHAPE), 8)
    od = od if blur is None else blur(od)
    od = (od + rng.normal(0, noise, SHAPE)).astype(np.float32)
    valid = np.ones(SHAPE, bool)
    found = DETECTOR.detect(torch.from_numpy(od)[None, None], torch.from_numpy(valid)[None, None])
    return OpticalDensityFrame(
        key=FrameKey(run="r", stream="primary", data_key="cam", seq_num=number + 1),
        frame=number,
        energy=8320.0 + number,
        time=float(number),
        od=od,
        valid=valid,
        sigma=noise,
        revision=0,
        provisional=False,
    ), found[0]


def follow(frames, settings=None):
    state, reasons = SharpnessState(), []
    for corrected, detections in frames:
        state, verdict = assess(state, corrected, detections, settings or QualitySettings())
        reasons.append(verdict.reason)
    return state, reasons


@pytest.fixture(scope="module")
def sharp():
    """State after sharp frames over an edge, where contrast rises fourfold."""
    contrasts = [0.25, 0.25, 0.25, 0.25, 0.25, 0.3, 0.5, 0.8, 1.0, 1.0, 1.0, 1.0, 1.0]
    state, reasons = follow(frame(i, contrast=c) for i, c in enumerate(contrasts))
    assert reasons == [""] * len(contrasts)
    return state


@pytest.mark.parametrize(
    "blur",
    [
        lambda od: gaussian_filter(od, 2.0),
        lambda od: uniform_filter1d(od, 9, axis=0),
        lambda od: uniform_filter1d(od, 9, axis=1),
    ],
    ids=["defocus", "motion along y", "motion along x"],
)
def test_blur_is_told(sharp, blur):
    after, verdict = assess(sharp, *frame(20, blur), QualitySettings())
    assert verdict.reason == "blurred"
    assert "%" in verdict.message
    _, again = assess(after, *frame(21), QualitySettings())
    assert again.reason == ""


def test_contrast_noise_and_a_slight_blur_are_not(sharp):
    odd = [
        frame(20, contrast=0.5),
        frame(21, noise=0.12),
        frame(22, lambda od: gaussian_filter(od, 0.4)),
    ]
    assert [assess(sharp, *f, QualitySettings())[1].reason for f in odd] == ["", "", ""]


def test_noise_that_hides_the_rims_gives_no_verdict(sharp):
    dim = frame(20, lambda od: gaussian_filter(od, 2.0), contrast=0.3, noise=0.3)
    assert assess(sharp, *dim, QualitySettings())[1].reason == ""


def test_chemistry_that_changes_the_contrast_gives_no_verdict(sharp):
    # half of the contrast, and softer rims with it: no frame before was like this
    soft = frame(20, lambda od: gaussian_filter(od, 1.5), contrast=0.55)
    assert assess(sharp, *soft, QualitySettings())[1].reason == ""


def test_a_frame_without_particles_gets_no_verdict(sharp):
    corrected, detections = frame(20, contrast=0.0)
    assert len(detections) == 0
    after, verdict = assess(sharp, corrected, detections, QualitySettings())
    assert verdict.reason == ""
    assert after == sharp


def test_a_focus_that_stays_changed_becomes_usual():
    changed = [frame(10 + i, lambda od: gaussian_filter(od, 2.0)) for i in range(7)]
    _, reasons = follow([*(frame(i) for i in range(5)), *changed])
    assert reasons == [""] * 5 + ["blurred"] * 4 + [""] * 3


def test_it_can_be_switched_off(sharp):
    settings = QualitySettings(min_sharpness=0)
    assert assess(sharp, *frame(20, lambda od: gaussian_filter(od, 3.0)), settings)[1]


def test_provisional_frames_are_compared_with_their_like(sharp):
    corrected, detections = frame(20, lambda od: gaussian_filter(od, 2.0))
    first = replace(corrected, provisional=True)
    assert assess(sharp, first, detections, QualitySettings())[1].reason == ""


def test_a_frame_without_any_flat_gets_no_verdict(sharp):
    corrected, detections = frame(20, lambda od: gaussian_filter(od, 2.0))
    first = replace(corrected, estimated=True)
    after, verdict = assess(sharp, first, detections, QualitySettings())
    assert verdict.reason == ""
    assert after == sharp
