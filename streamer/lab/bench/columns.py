"""The columns of the table: what they are called, what they mean, how they are written."""

from __future__ import annotations

import math
from dataclasses import dataclass

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


@dataclass(frozen=True, slots=True)
class Figure:
    """One figure.

    Attributes
    ----------
    key : in the JSON. head : in the table. form : format of the number.
    meaning : one line for the legend.
    """

    key: str
    head: str
    form: str
    meaning: str

    def text(self, value: float | None) -> str:
        """Write a figure; a dash if there is none."""
        if value is None or not math.isfinite(value):
            return "-"
        return format(value, self.form)


POSITION = (
    Figure("rms", "rms", ".3f", "px, one constant offset per particle removed"),
    Figure("median", "median", ".3f", "px, of the same errors"),
    Figure("p95", "p95", ".3f", "px, of the same errors"),
    Figure("below", "below", ".3f", "rms below the edge, px"),
    Figure("at", "at", ".3f", "rms at the edge, px"),
    Figure("above", "above", ".3f", "rms above the edge, px"),
    Figure("within_below", "within below", ".3f", "rms below the edge, offset removed there, px"),
    Figure("within_above", "within above", ".3f", "rms above the edge, offset removed there, px"),
    Figure("step", "step", ".3f", "jump of the mean error from below to above the edge, px"),
    Figure("ungated", "ungated", ".2f", "rms of trajectories however far off they are, px"),
    Figure("crb_above", "rms/CRB", ".1f", "above the edge, the constant offset removed"),
    Figure("crb_within", "within/CRB", ".1f", "above the edge, the offset removed there"),
    Figure("nees", "NEES", ".2f", "2 for honest error bars, over all energies"),
    Figure("nees_above", "NEES above", ".2f", "the same above the edge"),
    Figure("nees_within", "NEES within", ".2f", "the same, the offset removed there"),
)

IDENTITY = (
    Figure("recall", "recall", ".3f", "share of wanted instances that were measured"),
    Figure("false_per_frame", "false", ".3f", "measured positions on no particle, per frame"),
    Figure("switches", "switches", ".0f", "changes of the identity that explains a particle"),
    Figure("idf1", "IDF1", ".3f", "share of instances with the right identity"),
    Figure("hota", "HOTA", ".3f", "higher-order tracking accuracy"),
    Figure("delay", "delay", ".1f", "frames until what came (back) into view is measured, median"),
    Figure("never", "never", ".0f", "returns and losses after which it was not measured again"),
    Figure("kept", "kept", ".2f", "share of returns with the old identity"),
    Figure("ssim", "SSIM", ".4f", "mean similarity of adjacent aligned ROIs"),
    Figure("ssim_oracle", "oracle", ".4f", "the same if aligned by the truth"),
    Figure("ssim_var", "SSIM var", ".1e", "variance of the same"),
    Figure("ssim_var_oracle", "oracle var", ".1e", "variance if aligned by the truth"),
    Figure("residual", "residual", ".3f", "rms of last minus first on the rim over that inside"),
    Figure("residual_oracle", "oracle res.", ".3f", "the same if aligned by the truth"),
    Figure("seconds", "s", ".1f", "time that the peer took"),
)

COLUMNS = (*POSITION, *IDENTITY)

# The columns of the table.


PAPER_COLUMNS = (
    Figure("ssim_one", "SSIM*", ".4f", "mean SSIM of adjacent aligned ROIs of the particle shown"),
    Figure("var_one", "var*", ".1e", "variance of the same"),
    Figure("clean_ssim_one", "clean*", ".4f", "SSIM* on the frames without noise"),
    Figure("clean_var_one", "clean var*", ".1e", "variance of the same"),
    Figure("far_one", "far*", ".4f", "clean, above the edge, with the last frame, not the next"),
    Figure("ssim", "SSIM", ".4f", "mean over all pairs of all particles"),
    Figure("clean_ssim", "clean", ".4f", "SSIM on the frames without noise"),
    Figure("clean_worst", "worst", ".4f", "least mean of a particle, without noise"),
    Figure("far", "far", ".4f", "the same of all particles"),
    Figure("clean_oracle", "oracle", ".4f", "clean, for the same pairs aligned by the truth"),
    Figure("residual", "residual", ".3f", "differential map: rms on the rim over that inside"),
    Figure("clean_residual", "clean res", ".3f", "the same on the frames without noise"),
    Figure("rms_one", "rms*", ".3f", "position error of the particle shown, px"),
    Figure("rms", "rms", ".3f", "position error of all particles, px"),
    Figure("p95", "p95", ".3f", "95 % of the same errors are smaller, px"),
    Figure("rms_live", "rms live", ".3f", "rms of the positions as they were told at once, px"),
    Figure("recall", "recall", ".3f", "share of instances within half a radius of their particle"),
    Figure("switches", "switches", ".0f", "changes of the identity that explains a particle"),
    Figure("seconds", "s/100", ".2f", "wall time for 100 frames with nine particles, s"),
    Figure("processor", "CPU s", ".2f", "processor time of the same, s"),
    Figure("stop", "stop s", ".2f", "time of the second look at these 100 frames, s"),
    Figure("median", "ms/frame", ".1f", "median time from a frame's document to its results, ms"),
    Figure("gflop", "GFLOP", ".2f", "convolutions and matrix products per frame"),
    Figure("gigabytes", "GB", ".3f", "read and written by torch per frame, unfused"),
)

TERMINAL = tuple(column for column in PAPER_COLUMNS if column.key in _IN_TERMINAL)
"""The columns that a terminal has room for; the files have them all."""
