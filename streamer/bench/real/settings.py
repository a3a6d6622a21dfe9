"""Settings of the processor for the measured stack of the benchmark."""

from __future__ import annotations

from ...config import Settings, load_settings


def stxm_settings(device: str | None = None) -> Settings:
    """Settings for 125 x 125 px of vent particles at 80 nm/px, chosen by looking at the images.

    Two things in the field have a closed rim: a ball of 1 um that holds no iron and a sphere of
    2 um in touch with an aggregate. Around them lie clouds of iron, which become the densest of
    the background at the edge: hence the low thresholds.
    """
    overrides = {
        "profile": "bench_stxm",
        # counted photons: no dark, no camera whose rim were bad
        "correct": {"rim": 0},
        "detect": {
            "min_diameter_px": 10,
            "max_diameter_px": 40,
            "background_px": 24,
            "snr": 2.0,
            "min_relative_contrast": 0.02,
        },
        # the field is too small for the jumps of a stage that travels
        "link": {"max_jump_px": 12, "coast_frames": 20},
    }
    if device:
        overrides["process"] = {"device": device}
    return load_settings(None, overrides)
