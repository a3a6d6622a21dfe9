"""Settings of the correction of counts to optical density."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class CorrectSettings(BaseModel):
    """Limits and choices by which counts become optical density."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    energy_tolerance: float = Field(
        default=0.25,
        ge=0,
        description="a flat belongs to a frame if their energies differ by less, eV",
    )
    normalise_exposure: bool = Field(
        default=True,
        description="divide frame and flat by their exposure times where both are known",
    )
    min_illumination: float = Field(
        default=0.02,
        ge=0,
        lt=1,
        description="pixels whose flat is below this fraction of its bright level are masked, 1",
    )
    hot_sigma: float = Field(
        default=8.0,
        gt=0,
        description="flat pixels this far from their neighbours are masked, sigma",
    )
    rim: int = Field(default=4, ge=0, description="width of the masked border of the frame, px")
    od_min: float = Field(default=-2.0, description="lowest optical density that is passed on, OD")
    od_max: float = Field(default=6.0, description="highest optical density that is passed on, OD")
    saturation: float = Field(
        default=65535.0, gt=0, description="pixels at or above this value are masked, counts"
    )
    max_saturated: float = Field(
        default=0.2,
        gt=0,
        le=1,
        description="a frame with a larger saturated fraction is refused, 1",
    )
    blank_level: float = Field(
        default=0.05,
        ge=0,
        lt=1,
        description="a frame darker than this fraction of the frames before it is blank, 1",
    )
    illumination_order: int = Field(
        default=6,
        ge=2,
        le=12,
        description="polynomial order of the illumination estimate used while no flat is known, 1",
    )
    max_flats: int = Field(
        default=512, ge=1, description="flats of different energies kept at a time, 1"
    )
    flat_memory_mb: float = Field(
        default=2048.0,
        gt=0,
        description="memory that these flats may take; one is kept in any case, MB",
    )
    max_pending: int = Field(
        default=100_000,
        ge=1,
        description="frames remembered as not yet final, without their pixels, 1",
    )
