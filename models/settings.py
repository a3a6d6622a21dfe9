"""Settings of the detectors."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field, model_validator

# Settings of the network path.


class NetworkSettings(BaseModel):
    """Settings of the detector ``networks``."""

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
        default=None, description="compute in bfloat16; none for where the device is faster for it"
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


class DetectSettings(BaseModel):
    """Settings of the detectors of particles in a frame of optical density."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: str = Field(
        default="threshold",
        description="detector: a name in DETECTORS or a dotted path package.module:Name",
    )
    min_diameter_px: float = Field(
        default=15.0,
        ge=6,
        description="diameter (of the disc of equal area) of the smallest particle, px",
    )
    max_diameter_px: float = Field(
        default=320.0, gt=6, description="diameter of the largest particle, px"
    )
    min_contrast: float = Field(
        default=0.02, gt=0, description="least mean OD of a particle above its surroundings, OD"
    )
    min_relative_contrast: float = Field(
        default=0.08,
        ge=0,
        lt=1,
        description="least contrast of a particle in units of that of the densest in the frame, 1",
    )
    snr: float = Field(
        default=4.0,
        gt=0,
        description="least peak of a particle, in standard deviations of the background",
    )
    grow: float = Field(
        default=0.5,
        gt=0,
        le=1,
        description="where its region ends, in units of that peak threshold, 1",
    )
    rim_level: float = Field(
        default=0.5,
        gt=0,
        lt=1,
        description="contour of a mask, 0 at the background, 1 inside the rim, 1",
    )
    min_sharpness: float = Field(
        default=1.7,
        ge=0,
        description="least slope at the rim times radius over contrast; smooth clouds are below, 1",
    )
    min_compactness: float = Field(
        default=0.58,
        ge=0,
        le=1,
        description="least 4 pi area / perimeter^2; 1 is a disc, ragged clouds have 0.2 to 0.6, 1",
    )
    max_texture: float = Field(
        default=0.21,
        gt=0,
        description="largest rms inside a faint particle, over its contrast; clouds have more, 1",
    )
    min_fill: float = Field(
        default=0.80,
        ge=0,
        le=1,
        description="least area over the area of the ellipse of equal moments, 1",
    )
    max_elongation: float = Field(
        default=2.6,
        ge=1,
        description="largest ratio of the axes of the ellipse of equal moments, 1",
    )
    min_score: float = Field(
        default=0.05,
        ge=0,
        le=1,
        description="least score of a detection; what founds a particle needs link.min_score, 1",
    )
    neck: float = Field(
        default=0.87,
        gt=0,
        le=1,
        description="cut where the neck is narrower than this share of the smaller particle, 1",
    )
    background_px: float = Field(
        default=36.0,
        gt=0,
        description="scale on which the background may vary between particles, px",
    )

    networks: NetworkSettings = Field(
        default_factory=NetworkSettings, description="of the detector `networks`"
    )
    search_every: int = Field(
        default=1,
        ge=1,
        description="the whole frame is searched every so many frames, and whenever a particle is "
        "missing; in between, known ones are found again around their places, so that new ones "
        "are seen later by as much. 1: always; of no effect on detectors that cannot follow",
    )
    deadline_s: float | None = Field(
        default=None,
        gt=0,
        description="time from when documents come in to their results that must not be exceeded, "
        "s: else frames are looked at by the classical detector only, or not at all, and "
        "are degraded. What is found then depends on the load. Never, if not set",
    )

    @model_validator(mode="after")
    def _ordered(self) -> DetectSettings:
        if self.max_diameter_px <= self.min_diameter_px:
            raise ValueError(
                f"max_diameter_px must exceed min_diameter_px, got {self.max_diameter_px} "
                f"and {self.min_diameter_px}"
            )
        return self
