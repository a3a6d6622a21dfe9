"""Settings of the linker."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class LinkSettings(BaseModel):
    """Settings of the linkers."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: str = Field(
        default="voting", description="linker: a name in LINKERS or a dotted path module:Class"
    )
    max_jump_px: float = Field(
        default=60.0,
        gt=0,
        description="largest common shift between two frames that is searched, px; if few "
        "particles agree on one, it is searched as widely as for a new run",
    )
    max_jump_new_run_px: float = Field(
        default=240.0,
        gt=0,
        description="the same for the first frame of a new run of a known sample, px",
    )
    vote_width_px: float = Field(
        default=3.0, gt=0, description="width of the vote of one pair of positions, px"
    )
    gate_px: float = Field(
        default=6.0, gt=0, description="how far from its prediction a tracked particle may be, px"
    )
    gate_growth_px: float = Field(
        default=1.5,
        ge=0,
        description="growth of that gate per frame without a detection, px per frame",
    )
    gate_per_jump: float = Field(
        default=0.25,
        ge=0,
        description="growth of that gate per length of the common shift, as what lies in other "
        "planes or strains moves by more or less, px per px",
    )
    gate_max_px: float = Field(default=40.0, gt=0, description="largest gate, px")
    gate_new_run_px: float = Field(
        default=15.0,
        gt=0,
        description="gate for the first frame of a new run of a known sample, px",
    )
    wide_gate_px: float = Field(
        default=40.0,
        ge=0,
        description="how far a particle that was found nowhere near may have gone, if a "
        "detection that is left over looks the same, px",
    )
    max_area_ratio: float = Field(
        default=2.0, gt=1, description="largest ratio of mask areas of one particle in two frames"
    )
    min_ssim: float = Field(
        default=0.1,
        ge=-1,
        le=1,
        description="a doubtful pair is refused below this structural similarity of its ROIs",
    )
    ssim_floor: float = Field(
        default=0.2,
        ge=-1,
        le=1,
        description="linker `ssim`: a track is rather left without a detection than given one "
        "whose ROI has a structural similarity with its last one below this",
    )
    ssim_size: int = Field(
        default=32,
        ge=16,
        le=128,
        description="linker `ssim`: cells per side of the ROIs that are compared",
    )
    min_score: float = Field(
        default=0.25,
        ge=0,
        le=1,
        description="score that a detection needs to found a new particle; one with less may "
        "continue a known one",
    )
    confirm_frames: int = Field(
        default=2, ge=1, description="detections that make a tentative particle a tracked one"
    )
    tentative_frames: int = Field(
        default=2,
        ge=0,
        description="frames without detection until a tentative particle is retired",
    )
    coast_frames: int = Field(
        default=12, ge=0, description="frames without detection until a coasting particle is lost"
    )
    lost_frames: int = Field(
        default=400, ge=0, description="frames without detection until a lost particle is retired"
    )
    confirm_limit: int = Field(
        default=100,
        ge=0,
        description="frames over which a particle without detection may be kept by confirmation "
        "alone",
    )
    apart_frames: int = Field(
        default=4,
        ge=0,
        description="frames in a row in which several detections within the mask of one particle "
        "are taken for parts of it; after that they are particles",
    )
