"""Settings of the advice."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class AdviceSettings(BaseModel):
    """Limits beyond which advice is given; nothing moves by it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    enabled: bool = Field(default=True, description="give advice at all")
    repeat_s: float = Field(
        default=30.0,
        gt=0,
        description="what goes on is told again after this time of the data, s; at once if it gets "
        "worse",
    )
    clear_frames: int = Field(
        default=3, ge=1, description="good frames in a row after which an alert is over"
    )
    valid_s: float = Field(
        default=30.0, gt=0, description="how long after its frame an advice may be acted on, s"
    )
    recenter_px: float = Field(
        default=5.0,
        gt=0,
        description="drift beyond which a move back is recommended, px; over when below half of it",
    )
    recenter_sigma_px: float = Field(
        default=2.0,
        gt=0,
        description="no move is recommended by a drift with a larger standard error, px",
    )
    leaving_s: float = Field(
        default=60.0,
        gt=0,
        description="a particle is told to be leaving if the rim of the field cuts it within this "
        "time, s; an alarm within a quarter of it, or when it is cut already",
    )
    leaving_frames: int = Field(
        default=10, ge=4, description="frames in the straight line that gives its velocity"
    )
    leaving_sigma: float = Field(
        default=4.0,
        gt=0,
        description="by how much that velocity must stand out, standard errors; more for few "
        "frames, as they do not tell their own error well (Student's t)",
    )
    jump_px: float = Field(
        default=10.0,
        gt=0,
        description="common shift from one frame to the next that is told as a jump, px, if it is "
        "also five times the usual one",
    )
    defocus_frames: int = Field(
        default=3,
        ge=2,
        description="blurred frames in a row that are told as defocus: motion would blur some. "
        "After quality.sharpness_frames of them the blur counts as usual",
    )
    lag_s: float = Field(
        default=10.0,
        gt=0,
        description="results are lagging if they come by this later after their event than the "
        "quickest of the run did, s; over below half of it",
    )
    lag_replay_s: float = Field(
        default=3600.0,
        gt=0,
        description="beyond this latency the data are a replay, and nothing lags, s",
    )
