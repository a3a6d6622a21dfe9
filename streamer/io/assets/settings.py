"""Settings of the readers of pixels."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field


class PathPrefix(BaseModel):
    """One folder as the detector's computer sees it, and as this computer sees it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    ioc: str = Field(description="Folder in the documents, e.g. /nsls2/data or C:/data.")
    local: str = Field(description="The same folder here.")


class AssetSettings(BaseModel):
    """Bounds of reading pixels from files: from where, for how long, how large."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    path_map: tuple[PathPrefix, ...] = Field(
        default=(), description="Folders of the documents and ours; the first that fits is used."
    )
    allowed_roots: tuple[Path, ...] = Field(
        default=(),
        description="Only files in these folders (links resolved) are opened. Empty: none.",
    )
    retry_for: float = Field(
        default=2.0,
        ge=0,
        description="Longest wait for announced images of one file, s; a file that was waited for "
        "in vain is not waited for again.",
    )
    retry_every: float = Field(default=0.05, gt=0, description="Time between tries, s.")
    max_frame_bytes: int = Field(
        default=512 * 2**20, gt=0, description="Largest single image, bytes."
    )
    max_chunk_bytes: int = Field(
        default=4 * 2**30,
        gt=0,
        description="Most bytes read at once: images of one event, or one compressed block.",
    )
    max_open_files: int = Field(default=16, ge=1, description="Files kept open, count.")
    readers: dict[str, str] = Field(
        default_factory=dict,
        description="Readers of other formats: mimetype or spec -> package.module:Class; name the "
        "kinds in assemble.extra_kinds too.",
    )
