"""Settings of the readers of pixels, and which files here they let be opened."""

from __future__ import annotations

import os
import re
from pathlib import Path
from urllib.parse import unquote, urlsplit

from pydantic import BaseModel, ConfigDict, Field

from ...errors import AssetForbidden


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


_DRIVE = re.compile(r"^/?[A-Za-z]:/")


def path_of(uri: str) -> str:
    """Return the path, with forward slashes, of a ``file:`` URI or a plain path.

    Raises
    ------
    AssetForbidden
        If it is the URI of something else than a file.
    """
    if uri.lower().startswith("file:"):
        path = unquote(urlsplit(uri).path)
    elif "://" in uri:
        raise AssetForbidden(f"pixels should lie in a file, got the address {uri[:120]!r}")
    else:
        path = uri
    path = path.replace("\\", "/")
    if _DRIVE.match(path):
        return path.lstrip("/")
    return "/" + path.lstrip("/") if path.startswith("/") else path


def mapped(path: str, settings: AssetSettings) -> str:
    """Return the path here of a path of the detector's computer."""
    for entry in settings.path_map:
        prefix = entry.ioc.replace("\\", "/").rstrip("/")
        if path == prefix or path.startswith(prefix + "/"):
            return entry.local.rstrip("/") + path[len(prefix) :]
    return path


def allowed(path: str | Path, settings: AssetSettings) -> Path:
    """Return the file behind a path here, with all links resolved.

    Raises
    ------
    AssetForbidden
        If it lies outside `allowed_roots`.
    """
    if not settings.allowed_roots:
        raise AssetForbidden(
            f"no folder may be read, so {str(path)!r} is not opened; "
            "name the data folders in assets.allowed_roots"
        )
    if "\0" in str(path) or not Path(path).is_absolute():
        raise AssetForbidden(
            f"{str(path)[:200]!r} is no absolute path here; assets.path_map may translate it"
        )
    real = Path(os.path.realpath(path))
    for root in settings.allowed_roots:
        if real.is_relative_to(os.path.realpath(root)):
            return real
    raise AssetForbidden(
        f"{str(real)!r} lies outside assets.allowed_roots "
        f"({', '.join(str(r) for r in settings.allowed_roots)}); add its folder there, or "
        "translate it with assets.path_map"
    )


def local_path(uri: str, settings: AssetSettings) -> Path:
    """Return the file that a URI of a document names, if it may be opened.

    Raises
    ------
    AssetForbidden
        If it lies outside the allowed roots, or is no file.
    """
    return allowed(mapped(path_of(uri), settings), settings)
