"""Settings of the Tiled sink."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class TiledSettings(BaseModel):
    """Settings of the writing of results to Tiled."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    frames: Literal["auto", "hdf5", "http"] = Field(
        default="auto",
        description="hdf5: this process writes images to HDF5 files in `frames_dir`, which the "
        "server reads; http: images are sent to the server; auto: hdf5 where the server accepts "
        "our files, else http.",
    )
    frames_dir: str | None = Field(
        default=None,
        description="Folder for HDF5 files, as this process and the server both see it; it must "
        "lie in the server's readable_storage. None: images are sent over HTTP.",
    )
    parent: tuple[str, ...] = Field(
        default=(), description="Keys of the container that holds result runs; () is the root."
    )
    tick_s: float = Field(
        default=0.25, gt=0, description="Shortest time between two rounds of requests, s."
    )
    tick_max_s: float = Field(default=2.0, gt=0, description="Longest time between two rounds, s.")
    duty: float = Field(
        default=0.8,
        gt=0,
        le=1,
        description="Share of the time that the sink may spend in requests; rounds are spaced "
        "accordingly, between tick_s and tick_max_s.",
    )
    prompt: tuple[str, ...] = Field(
        default=(
            "frames/rows",
            "frames/aligned",
            "frames/preview",
            "frames/preview_unaligned",
            "particles/rows",
            "advice/rows",
        ),
        description="Arrays (stream/array) that are sent in every round. Of the others one goes "
        "with each round, in turn, for whoever watches wants the next frame first.",
    )
    others_s: float = Field(
        default=2.0,
        ge=0,
        description="Shortest time from one turn of the other arrays to the next, s.",
    )
    first_rows_s: float = Field(
        default=1.0,
        ge=0,
        description="Age of its first row at which a stream appears at the latest, s. The rows "
        "that have come by then set the chunk of the array.",
    )
    first_rows: int = Field(
        default=32, ge=1, description="Number of rows with which a stream appears at once."
    )
    preview_keys: tuple[str, ...] = Field(
        default=("aligned", "unaligned"),
        description="Image keys of which a small live picture of the newest image is kept: the "
        "array preview of the first, preview_<key> of the others.",
    )
    preview_px: int = Field(default=256, ge=16, description="Longest side of a preview, px.")
    volatile: tuple[str, ...] = Field(
        default=("latency",),
        description="Columns that differ each time a run is computed; they alone do not make "
        "the sink rewrite a row that the server already holds.",
    )
    flush_bytes: int = Field(
        default=16 << 20, gt=0, description="Bytes of waiting images that force a round of writing."
    )
    request_bytes: int = Field(
        default=8 << 20, gt=0, description="Largest payload of one request, bytes."
    )
    max_pending_bytes: int = Field(
        default=512 << 20,
        gt=0,
        description="Bytes of images kept while they cannot be written; the oldest are given up "
        "beyond it, and counted. Rows are never given up.",
    )
    retry_s: tuple[float, float] = Field(
        default=(0.5, 15.0), description="First and longest pause after a failed round, s."
    )
    timeout_s: float = Field(default=30.0, gt=0, description="Longest wait for one answer, s.")
    patience_s: float = Field(
        default=600.0,
        ge=0,
        description="How long results wait in order while the server answers with errors, or the "
        "disk of `frames_dir` is full, s. After it results of other runs pass, and images that "
        "cannot be written are given up beyond `max_pending_bytes`, and counted. For a server "
        "that cannot be reached there is no such limit.",
    )
    queue_mb: float = Field(
        default=256.0,
        gt=0,
        description="Memory for results that wait for the server, MB; from half of it on they go "
        "to the spool.",
    )
    spool_dir: str | None = Field(
        default=None,
        description="Folder in which results wait on disk while the server is away or slow; a "
        "folder of its own is made in it and removed at the end. None: the system's place for "
        "temporary files (which may be in memory: give a folder on a disk then).",
    )
    spool_gb: float = Field(
        default=20.0,
        ge=0,
        description="What may wait there, GB; beyond it images are given up, and counted, but no "
        "rows. 0: no spool, images are given up when `queue_mb` is full.",
    )
    close_s: float = Field(
        default=60.0,
        ge=0,
        description="How long the end of the service waits for the server to take what is left, s.",
    )
