"""Settings of the network path."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class NetworkSettings(BaseModel):
    """How the detector ``networks`` looks for particles."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    generator: str | None = Field(
        default=None,
        description="weights of the generator, a safetensors file; none for the shipped ones",
    )
    dual_unet: str | None = Field(
        default=None,
        description="weights of the Dual U-net, a safetensors file; none for the shipped ones",
    )
    half: bool | None = Field(
        default=None,
        description="compute in bfloat16; none for where the device is faster for it",
    )
    step: int = Field(
        default=2, ge=1, le=8, description="finest resolution of the search, px per cell"
    )
    tile: int = Field(
        default=1024,
        ge=256,
        description="side from which a frame is searched in overlapping tiles, cells",
    )
    threshold: float = Field(
        default=0.5,
        gt=0,
        lt=1,
        description="probability in the mask of the generator from which a cell is a particle, 1",
    )
    min_presence: float = Field(
        default=0.5,
        ge=0,
        lt=1,
        description="least mean probability in the contour that the Dual U-net draws, 1",
    )
    min_rim: float = Field(
        default=6.0,
        ge=0,
        description="rim contrast on the raw OD for even odds, in its standard errors, 1",
    )
    max_overlap: float = Field(
        default=0.5,
        gt=0,
        le=1,
        description="share of the smaller of two contours that may lie in the other, 1",
    )
