"""Settings of registration and of what is published of it."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class RegisterSettings(BaseModel):
    """How positions become drift, deformation and kinematics."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    gauge: Literal["robust-mean", "particle"] = Field(
        default="robust-mean",
        description="what is declared to be drift: the robust mean of all particles' motion, or "
        "the motion of one named particle",
    )
    gauge_particle: int = Field(
        default=0, ge=0, description="that particle, if gauge is 'particle'"
    )
    min_particles_affine: int = Field(
        default=4, ge=3, description="particles needed to fit strain and rotation"
    )
    velocity_frames: int = Field(
        default=5, ge=2, description="frames in the causal fit of velocity and acceleration"
    )
    psf_px: float = Field(default=1.2, gt=0, description="sigma of the point spread function, px")
    roi_px: int | Literal["auto"] = Field(
        default="auto",
        description="side of the published ROI of a particle, px; auto: from the first frame",
    )
    roi_max_px: int = Field(default=384, ge=16, description="largest side that auto chooses, px")
    ssim_range: float = Field(
        default=1.0, gt=0, description="data range of the published SSIM, optical density"
    )


def auto_roi(extents: list[float], settings: RegisterSettings) -> int:
    """Side of the ROI for particles of these extents.

    Parameters
    ----------
    extents : longest side of each mask's bounding box, px.
    settings : gives a fixed side, or the upper bound.

    Returns
    -------
    Side in px: 1.4 times the largest extent, a multiple of 16 (four stride-2 levels of a U-net).
    """
    if settings.roi_px != "auto":
        return settings.roi_px
    largest = max(extents, default=64.0)
    side = int(-(-1.4 * largest // 16) * 16)
    return max(32, min(side, settings.roi_max_px))
