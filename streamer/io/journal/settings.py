"""Settings of the journal."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator


class JournalSettings(BaseModel):
    """How much is kept, and for how long."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    segment_mb: float = Field(
        default=128.0, gt=0, description="MB after which a new segment file is begun"
    )
    max_gb: float = Field(
        default=50.0,
        gt=0,
        description="GB that the journal may take: beyond it segments whose results are confirmed "
        "are removed, the oldest first; those that are not confirmed never are",
    )
    keep_h: float = Field(
        default=24.0,
        ge=0,
        description="h for which segments are kept after their results were confirmed, for late "
        "joiners and for a second processing",
    )
    when_full: Literal["drop", "block"] = Field(
        default="drop",
        description="what happens when max_gb is taken by what is not confirmed, or the disk is "
        "full: drop gives up documents of images, counted, and keeps those that open and close "
        "runs; block stops receiving until there is room, whereupon 0MQ drops without telling",
    )
    sync_s: float = Field(
        default=1.0,
        gt=0,
        description="s after which what was written is forced to the disk, so that a loss of power "
        "costs no more",
    )
    linger_s: float = Field(
        default=900.0,
        ge=0,
        description="s for which a keeper that a processor has started goes on receiving after "
        "that processor was killed, so that a restarted one misses nothing",
    )
    checkpoint_s: float = Field(
        default=2.0,
        gt=0,
        description="s between checkpoints of the processor, at least; more where they are costly",
    )

    @model_validator(mode="after")
    def _has_segments(self) -> Self:
        if 4 * self.segment_mb > 1000 * self.max_gb:
            raise ValueError(
                f"segment_mb is at most a quarter of max_gb, as whole segments are removed, got "
                f"{self.segment_mb} MB of {self.max_gb} GB"
            )
        return self
