"""Settings of a training."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class TrainSettings(BaseModel):
    """How a network is trained, whichever it is."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    steps: int = Field(default=8000, ge=1, description="optimiser steps, in all")
    batch: int = Field(default=32, ge=1, description="images per step")
    rate: float = Field(default=2e-3, gt=0, description="highest learning rate")
    warmup: int = Field(default=200, ge=0, description="steps until the rate is reached")
    seed: int = Field(default=0, ge=0, description="seed of weights, order and augmentation")
    score_every: int = Field(default=250, ge=1, description="steps between held-out scores")
    patience: int = Field(
        default=12, ge=1, description="scores without a better one after which training ends early"
    )
    mixed: bool = Field(
        default=True, description="compute in bfloat16 where the device is faster for it"
    )
