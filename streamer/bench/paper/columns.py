"""The columns of the table."""

from __future__ import annotations

from ..accuracy.columns import Column

PAPER_COLUMNS = (
    Column("ssim_one", "SSIM*", ".4f", "mean SSIM of adjacent aligned ROIs of the particle shown"),
    Column("var_one", "var*", ".1e", "variance of the same"),
    Column("clean_ssim_one", "clean*", ".4f", "SSIM* on the frames without noise"),
    Column("clean_var_one", "clean var*", ".1e", "variance of the same"),
    Column("far_one", "far*", ".4f", "clean, above the edge, with the last frame, not the next"),
    Column("ssim", "SSIM", ".4f", "mean over all pairs of all particles"),
    Column("clean_ssim", "clean", ".4f", "SSIM on the frames without noise"),
    Column("clean_worst", "worst", ".4f", "least mean of a particle, without noise"),
    Column("far", "far", ".4f", "the same of all particles"),
    Column("clean_oracle", "oracle", ".4f", "clean, for the same pairs aligned by the truth"),
    Column("residual", "residual", ".3f", "differential map: rms on the rim over that inside"),
    Column("clean_residual", "clean res", ".3f", "the same on the frames without noise"),
    Column("rms_one", "rms*", ".3f", "position error of the particle shown, px"),
    Column("rms", "rms", ".3f", "position error of all particles, px"),
    Column("p95", "p95", ".3f", "95 % of the same errors are smaller, px"),
    Column("rms_live", "rms live", ".3f", "rms of the positions as they were told at once, px"),
    Column("recall", "recall", ".3f", "share of instances within half a radius of their particle"),
    Column("switches", "switches", ".0f", "changes of the identity that explains a particle"),
    Column("seconds", "s/100", ".2f", "wall time for 100 frames with nine particles, s"),
    Column("processor", "CPU s", ".2f", "processor time of the same, s"),
    Column("stop", "stop s", ".2f", "time of the second look at these 100 frames, s"),
    Column("median", "ms/frame", ".1f", "median time from a frame's document to its results, ms"),
    Column("gflop", "GFLOP", ".2f", "convolutions and matrix products per frame"),
    Column("gigabytes", "GB", ".3f", "read and written by torch per frame, unfused"),
)

_IN_TERMINAL = (
    "ssim_one",
    "var_one",
    "clean_ssim_one",
    "far_one",
    "ssim",
    "clean_ssim",
    "far",
    "rms_one",
    "rms",
    "p95",
    "rms_live",
    "recall",
    "seconds",
    "processor",
    "median",
)
TERMINAL = tuple(column for column in PAPER_COLUMNS if column.key in _IN_TERMINAL)
"""The columns that a terminal has room for; the files have them all."""
