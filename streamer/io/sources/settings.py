"""Settings of the sources."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import Field, field_validator

from ..wire.curve import CurveSettings, _Settings

Speed = float | Literal["max"]


class ZmqSourceSettings(_Settings):
    """Listening to a 0MQ proxy."""

    address: str = Field(
        default="localhost:5578",
        description="Out side of the proxy: host:port, tcp://host:port or ipc://path",
    )
    prefix: bytes = Field(default=b"", description="Publisher to listen to; empty listens to all")
    max_bytes: int = Field(
        default=1 << 30, gt=0, description="Bytes of documents that may wait to be processed"
    )
    when_full: Literal["drop", "block"] = Field(
        default="drop",
        description="drop: count and drop data documents (start, descriptor, stop are kept); "
        "block: stop receiving, whereupon the proxy drops without telling",
    )
    max_message_bytes: int = Field(
        default=1 << 29, gt=0, description="Longest message accepted, bytes"
    )
    receive_high_water: int = Field(
        default=1000, gt=0, description="Messages that 0MQ itself may hold for us (RCVHWM)"
    )
    heartbeat: float = Field(
        default=5.0, gt=0, description="s between pings that notice a dead connection"
    )
    settle: float = Field(
        default=0.05,
        ge=0,
        description="s between the handshake and `ready`, in which the subscription travels to the "
        "proxy; more than one round trip",
    )
    curve: CurveSettings | None = Field(default=None, description="CURVE keys; none: in the clear")

    @field_validator("curve", mode="before")
    @classmethod
    def _from_client_curve(cls, value: object) -> object:
        as_dict = getattr(value, "_asdict", None)
        return as_dict() if as_dict else value


class RecordingSourceSettings(_Settings):
    """Playing back a recording."""

    path: str = Field(description="File, folder of files, or http(s) address of a run in Tiled")
    speed: Speed = Field(
        default="max", description="1 as it happened, N times faster, or max: without waiting"
    )
    max_gap: float = Field(
        default=60.0, ge=0, description="Longest wait between two documents, s, whatever clocks say"
    )
    max_bytes: int = Field(
        default=1 << 28, gt=0, description="Bytes of documents read ahead of the processing"
    )
    injector: Any = Field(
        default=None, description="`FaultInjector` that breaks what is read; none: as recorded"
    )

    @field_validator("speed")
    @classmethod
    def _positive(cls, value: Speed) -> Speed:
        if value != "max" and not value > 0:
            raise ValueError(f"speed is a number above 0 or max, got {value}")
        return value


class MemorySourceSettings(_Settings):
    """Documents that are handed over inside one process."""

    documents: Any = Field(
        default=None,
        description="Iterable of (name, doc) to hand out; none: they are pushed, then finished",
    )
    max_bytes: int = Field(
        default=1 << 30, gt=0, description="Bytes of documents that may wait; `push` then blocks"
    )


class JournalSourceSettings(_Settings):
    """Reading a journal while it is written."""

    folder: Path = Field(description="Folder of the journal")
    position: int | None = Field(
        default=None, description="of the first document, bytes; none: the oldest there is"
    )
    poll: float = Field(default=0.01, gt=0, description="s between looks for something new")
    max_bytes: int = Field(
        default=64 << 20, gt=0, description="Bytes of documents handed out at once"
    )
