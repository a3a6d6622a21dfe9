"""Settings of the quality of frames."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class QualitySettings(BaseModel):
    """Limits beyond which frames are unusable; those are counted, not fitted."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    duplicates: bool = Field(
        default=True, description="skip a frame that repeats the pixels or the number of the last"
    )
    out_of_order: bool = Field(
        default=True, description="skip a frame with a lower event number than one before it"
    )
    blank_contrast: float = Field(
        default=0.05,
        ge=0,
        lt=1,
        description="a frame is blank if its light varies over the field by less than this "
        "fraction of what is usual (0: only if by no more than its noise), 1",
    )
    min_sharpness: float = Field(
        default=0.5,
        ge=0,
        lt=1,
        description="a frame is blurred if the share of fine structure in the rims of particles "
        "is below this fraction of the median of frames of similar energy (0: never), 1",
    )
    sharpness_frames: int = Field(
        default=5, ge=3, description="how many frames, the nearest in energy, make that median"
    )
    sharpness_sigma: float = Field(
        default=5.0,
        gt=0,
        description="by how much fine structure must stand out of the noise for a verdict, "
        "standard errors",
    )
