"""Resource/Datum and StreamResource documents -> `AssetRef`: which images of which file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..frames import AssetRef
from .state import DatumState, ResourceState
from .values import LARGEST, MalformedDocument, integer, optional_text, section, text

HDF5_KINDS = frozenset(
    {
        "application/x-hdf5",
        "AD_HDF5",
        "AD_HDF5_SINGLE",
        "AD_HDF5_SWMR",
        "AD_HDF5_SWMR_SLICE",
        "AD_HDF5_SWMR_STREAM",
        "HDF5",
    }
)
SEQUENCE_KINDS = frozenset(
    {
        "AD_TIFF",
        "NPY_SEQ",
        "application/x-npy",
        "image/tiff",
        "multipart/related;type=application/x-npy",
        "multipart/related;type=image/tiff",
    }
)
KINDS = HDF5_KINDS | SEQUENCE_KINDS


def resource_state(doc: Mapping[str, Any], run: str) -> ResourceState:
    """Read a Resource or StreamResource document, of the present or of earlier schemas.

    Raises
    ------
    MalformedDocument
        If it has no uid, no format, or no place.
    """
    kind = optional_text(doc, "mimetype") or text(doc, "spec")
    uri = optional_text(doc, "uri") or _joined(
        optional_text(doc, "root"),
        optional_text(doc, "resource_path") or optional_text(doc, "path"),
    )
    parameters = section(doc, "parameters") or section(doc, "resource_kwargs")
    return ResourceState(
        uid=text(doc, "uid"),
        run=run,
        kind=kind,
        uri=uri,
        parameters=parameters,
        data_key=optional_text(doc, "data_key"),
    )


def _joined(root: str, path: str) -> str:
    """Join root and resource_path: a leading slash of the latter does not make it absolute."""
    return f"{root.rstrip('/')}/{path.lstrip('/')}" if root else path


def frames_per_index(resource: ResourceState, declared: int) -> int:
    """Images that one index (or point) stands for.

    ``frame_per_point`` (ophyd) and ``multiplier`` (early StreamResource) repeat what the
    descriptor should declare, and are right where it lies.
    """
    for name in ("frame_per_point", "multiplier"):
        value = integer(resource.parameters.get(name))
        if value is not None and 1 <= value < LARGEST and (name != "multiplier" or declared == 1):
            return value
    return declared


def _index(value: Any, name: str) -> int:
    index = integer(value)
    if index is None or not 0 <= index < LARGEST:
        raise MalformedDocument(f"{name} should be a count from 0, got {str(value)[:40]!r}")
    return index


def index_range(value: Any, name: str) -> tuple[int, int]:
    """(start, stop) of a ``{"start": , "stop": }`` mapping.

    Raises
    ------
    MalformedDocument
        If it is none, or runs backwards.
    """
    if not isinstance(value, Mapping):
        raise MalformedDocument(f"{name} should be {{start, stop}}, got {type(value).__name__}")
    start, stop = _index(value.get("start"), name), _index(value.get("stop"), name)
    if stop < start:
        raise MalformedDocument(f"{name} runs backwards, from {start} to {stop}")
    return start, stop


def _datum_range(kwargs: Mapping[str, Any], seq_num: int) -> tuple[int, int]:
    """Points that a datum stands for; the event number where it does not say."""
    if "indices" in kwargs:
        return index_range(kwargs["indices"], "datum_kwargs.indices")
    for name in ("point_number", "frame", "index"):
        if name in kwargs:
            start = _index(kwargs[name], f"datum_kwargs.{name}")
            return start, start + 1
    return _index(seq_num - 1, "seq_num - 1"), seq_num


def asset(
    resource: ResourceState, first: int, last: int, per: int, extra: Mapping[str, Any] | None = None
) -> AssetRef:
    """Images of the indices `first`..`last` (half-open), `per` images each."""
    parameters = {**resource.parameters, **(extra or {}), "frames_per_index": per}
    return AssetRef(
        kind=resource.kind,
        uri=resource.uri,
        parameters=parameters,
        start=first * per,
        stop=last * per,
        run=resource.run,
        resource=resource.uid,
    )


def datum_asset(
    resource: ResourceState, datum: DatumState, seq_num: int, declared: int
) -> AssetRef:
    """Images that an event names through a datum_id.

    Raises
    ------
    MalformedDocument
        If the datum's numbers cannot be indices.
    """
    first, last = _datum_range(datum.kwargs, seq_num)
    # A file of an NPY_SEQ holds whatever one event brought: files are counted, not images.
    per = 1 if resource.kind == "NPY_SEQ" else frames_per_index(resource, declared)
    kept = {k: v for k, v in datum.kwargs.items() if k in ("dataset", "path", "filename")}
    return asset(resource, first, last, per, kept)
