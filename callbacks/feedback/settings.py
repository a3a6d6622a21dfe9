"""Settings of the feedback loop."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class FeedbackSettings(BaseModel):
    """When a stage is moved by what the processor says, and how far."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    dead_band_px: float = Field(
        default=2.0, gt=0, description="drift that is left alone, px in the image"
    )
    gain: float = Field(
        default=1.0, gt=0, le=1, description="share of the drift that one move takes back"
    )
    forecast: bool = Field(
        default=True,
        description="also take back what a steady drift has done since the last frame",
    )
    max_step_px: float = Field(
        default=20.0, gt=0, description="longest single move, px; a longer one is cut to it"
    )
    max_travel_px: float = Field(
        default=500.0, gt=0, description="farthest from where the loop began, px; beyond: refused"
    )
    max_sigma_px: float = Field(
        default=1.0, gt=0, description="drift with a larger standard error is not acted on, px"
    )
    min_particles: int = Field(
        default=2, ge=1, description="drift seen by fewer particles is not acted on"
    )
    stale_s: float = Field(
        default=60.0, gt=0, description="drift of a frame older than this is not acted on, s"
    )
    wait_s: float = Field(
        default=2.0,
        ge=0,
        description="longest wait for the result of a frame taken since the last move, s; then it "
        "goes on with what is known",
    )
    test_step: float = Field(
        default=0.2,
        gt=0,
        description="length of the test moves that measure the matrix, in the units of the axes",
    )
    test_wait_s: float = Field(
        default=30.0, gt=0, description="longest wait for the result of a test frame, s"
    )
    test_frames: int = Field(
        default=3, ge=1, description="frames that are tried at each place of the test moves"
    )
    test_error: float = Field(
        default=0.25,
        gt=0,
        lt=1,
        description="largest misfit of the test moves, in units of the shift that they cause",
    )
    max_skew: float = Field(
        default=4.0,
        gt=1,
        description="largest ratio of the shifts that equal moves of the two axes may cause, as "
        "the condition number of the matrix",
    )
    response_tolerance: float = Field(
        default=0.5,
        gt=0,
        lt=1,
        description="the loop stops when the images surely follow the moves by another factor "
        "than 1, by more than this; a rotation counts as well, 1",
    )
    response_px: float = Field(
        default=4.0,
        gt=0,
        description="by how much the field may move on its own from frame to frame, as long as "
        "no frames have shown it, px; a matrix that was not measured is first tried with a move "
        "of at least this length",
    )
