"""Settings of registration and of what is published of it."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

DIRECTIONS = 48
"""Directions of a published outline: every 7.5 degrees; by eye."""


class RegisterSettings(BaseModel):
    """Settings of drift, deformation and kinematics."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    gauge: Literal["robust-mean", "particle", "background"] = Field(
        default="robust-mean",
        description="what is declared to be drift: the robust mean of all particles' motion, the "
        "motion of one named particle, or that of the structured background between them",
    )
    gauge_particle: int = Field(
        default=0, ge=0, description="that particle, if gauge is 'particle'"
    )
    background_peak: float = Field(
        default=0.25,
        gt=0,
        lt=1,
        description="gauge 'background': correlation below which the background is not believed, "
        "and the robust mean goes on in its place",
    )
    background_search_px: float = Field(
        default=12.0,
        gt=0,
        description="gauge 'background': how far from the motion of the particles it is sought, px",
    )
    magnification_per_ev: float | None = Field(
        default=None,
        gt=-1e-2,
        lt=1e-2,
        description="change of the magnification with energy, 1/eV, divided out of positions "
        "before drift and deformation; none: unknown, estimated and reported",
    )
    magnification_energy: float | None = Field(
        default=None,
        gt=0,
        description="energy at which the magnification counts as 1, eV; none: that of the first "
        "frame",
    )
    optical_axis_yx: tuple[float, float] | None = Field(
        default=None,
        description="point of the image that stays when the magnification changes, px; none: the "
        "centre of the frame",
    )
    strain_walk: float = Field(
        default=0.003,
        gt=0,
        description="isotropic strain that the electrode may gain in ten minutes, rms; from it "
        "an unknown change of the magnification is told apart",
    )
    refine: bool = Field(
        default=True,
        description="match what each particle looks like with the image, rather than use the "
        "centre of mass of its mask",
    )
    whole_scan: bool = Field(
        default=True,
        description="look at all frames again when the run has stopped, against the best template "
        "of each particle, and tell the revised values",
    )
    whole_scan_frames: int = Field(
        default=16, ge=2, description="shortest run that is looked at again, frames"
    )
    whole_scan_most: int = Field(
        default=2000,
        ge=2,
        description="longest run that is looked at again, frames; its frames are kept until then",
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

    def declared(self) -> dict[str, Any]:
        """Return what a reader must know of drift and magnification, for the start document."""
        keys = {"gauge", "magnification_per_ev", "magnification_energy", "optical_axis_yx"}
        if self.gauge == "particle":
            keys.add("gauge_particle")
        return self.model_dump(mode="json", include=keys)


def auto_roi(extents: list[float], settings: RegisterSettings) -> int:
    """Choose the side of the ROI for particles of these extents.

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
