"""Fault scripts: the kinds of faults, where they strike, and how often."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from ...errors import ConfigError

DocumentName = Literal[
    "start",
    "descriptor",
    "event",
    "event_page",
    "resource",
    "datum",
    "datum_page",
    "stream_resource",
    "stream_datum",
    "stop",
]

_EVENTS: tuple[DocumentName, ...] = ("event", "event_page", "stream_datum")
Share = Annotated[float, Field(gt=0, le=1)]


class _Fault(BaseModel):
    """Range of documents that a fault strikes.

    The stream is asked of documents that belong to one, the number of events only.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    stream: str | None = Field(
        default="primary", description="name of the stream that is struck; none: all of them"
    )
    seq_num: tuple[int, int] | None = Field(
        default=None, description="first and last event number that is struck; none: all, count"
    )
    probability: Share = Field(
        default=1.0, description="chance of each of those to be struck (the seed decides), 1"
    )

    @model_validator(mode="after")
    def _rising(self) -> _Fault:
        if self.seq_num is not None and not 1 <= self.seq_num[0] <= self.seq_num[1]:
            raise ValueError(f"seq_num is [first, last], counted from 1, got {list(self.seq_num)}")
        return self


class _OfDocuments(_Fault):
    documents: tuple[DocumentName, ...] = Field(
        default=_EVENTS, min_length=1, description="names of the documents that are struck"
    )


class Drop(_OfDocuments):
    """A document is lost on its way."""

    kind: Literal["drop"]


class Duplicate(_OfDocuments):
    """A document comes again at once."""

    kind: Literal["duplicate"]
    copies: int = Field(default=1, ge=1, le=1000, description="further copies, count")
    new_uid: bool = Field(
        default=False,
        description="copies have a uid of their own, as of a plan that was rewound; else they are "
        "the same document, as of two publishers",
    )


class Reorder(_Fault):
    """An event is overtaken by those after it, at the latest at the stop of its run."""

    kind: Literal["reorder"]
    by: int = Field(default=1, ge=1, description="events of its stream that overtake it, count")


class Delay(_OfDocuments):
    """A document comes late."""

    kind: Literal["delay"]
    seconds: float = Field(gt=0, description="how much later it comes, s of the recording")
    hold_up: bool = Field(
        default=False,
        description="what comes after it waits behind it, as in one connection; else it is "
        "overtaken, also by the stop of its run",
    )


class LateStart(_Fault):
    """A listener joins late: a run is lost up to an event."""

    kind: Literal["late_start"]
    first_seq_num: int = Field(ge=1, description="first event of `stream` that arrives, count")
    keep: tuple[DocumentName, ...] = Field(
        default=(), description="names of the documents that arrive all the same"
    )

    @model_validator(mode="after")
    def _one_stream(self) -> LateStart:
        if self.stream is None or self.seq_num is not None:
            raise ValueError("late_start wants a stream and first_seq_num, and no seq_num")
        return self


class MissingStop(_Fault):
    """The stop document of a run is lost."""

    kind: Literal["missing_stop"]


class Nan(_Fault):
    """Pixels of an image are NaN (its dtype is float32 then)."""

    kind: Literal["nan"]
    fraction: Share = Field(default=1.0, description="share of the pixels, drawn at random, 1")


class Saturated(_Fault):
    """The brightest pixels of an image are at the upper end of the camera's range."""

    kind: Literal["saturated"]
    fraction: Share = Field(default=0.5, description="share of the pixels, the brightest, 1")
    level: float | None = Field(
        default=None,
        gt=0,
        description="value of a saturated pixel; none: the largest of the dtype, 65535 for "
        "numbers with a fraction, counts",
    )


class Blank(_Fault):
    """An image without any light."""

    kind: Literal["blank"]
    level: float = Field(default=100.0, ge=0, description="offset of the camera, counts")
    noise: float = Field(default=3.0, ge=0, description="read noise, counts rms")


class BeamLoss(_Fault):
    """The light fades over `ramp` events, is gone, and comes back likewise within `seq_num`."""

    kind: Literal["beam_loss"]
    left: float = Field(default=0.0, ge=0, lt=1, description="light left in between, 1")
    ramp: int = Field(
        default=0, ge=0, description="events over which it fades, and comes back, count"
    )
    dark_level: float = Field(
        default=100.0, ge=0, description="offset of the camera, which no beam makes, counts"
    )
    noise: float = Field(
        default=3.0, ge=0, description="read noise, which is left without beam, counts rms"
    )

    @model_validator(mode="after")
    def _bounded(self) -> BeamLoss:
        if self.seq_num is None:
            raise ValueError("beam_loss wants seq_num: [first, last]")
        return self


class EnergyJump(_Fault):
    """The monochromator reads an energy at which it is not."""

    kind: Literal["energy_jump"]
    offset_ev: float = Field(description="added to the reading, eV")


class FieldJump(_Fault):
    """The image is shifted, light and all; the rim that comes in repeats its edge."""

    kind: Literal["field_jump"]
    dy: int = Field(default=0, description="shift along y, px")
    dx: int = Field(default=0, description="shift along x, px")


class Corrupt(_OfDocuments):
    """The message of a document is damaged on the wire."""

    kind: Literal["corrupt"]
    mode: Literal["truncate", "garbage", "name", "flip"] = Field(
        default="truncate",
        description="truncate: its end is missing; garbage: other bytes of the same length; name: "
        "its document name is unreadable; flip: single bits are turned, which need not be noticed",
    )
    bits: int = Field(default=8, ge=1, description="bits that are turned (flip), count")


Fault = Annotated[
    Drop
    | Duplicate
    | Reorder
    | Delay
    | LateStart
    | MissingStop
    | Nan
    | Saturated
    | Blank
    | BeamLoss
    | EnergyJump
    | FieldJump
    | Corrupt,
    Field(discriminator="kind"),
]


class FaultScript(BaseModel):
    """Faults, in the order in which they strike a document, and the seed of what is random."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    seed: int = Field(default=0, ge=0, description="seed of everything random")
    faults: tuple[Fault, ...] = Field(min_length=1, description="what goes wrong")


def load_script(path: Path, seed: int | None = None) -> FaultScript:
    """Read a fault script.

    Parameters
    ----------
    path : YAML file; see `FaultScript`.
    seed : wins over that of the file.

    Raises
    ------
    ConfigError
        It cannot be read, or holds something unknown or out of range; each one is named.
    """
    try:
        content: Any = yaml.safe_load(path.read_text())
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"cannot read the faults of {path}: {error}") from error
    if not isinstance(content, dict):
        got = type(content).__name__
        raise ConfigError(f"{path} must be a mapping with `faults`, a list, got {got}")
    if seed is not None:
        content = {**content, "seed": seed}
    try:
        return FaultScript.model_validate(content)
    except ValidationError as error:
        lines = [
            f"  {'.'.join(str(part) for part in e['loc'])}: {e['msg']} (got {e['input']!r:.80})"
            for e in error.errors()
        ]
        raise ConfigError("\n".join([f"the faults of {path} cannot be used:", *lines])) from None
