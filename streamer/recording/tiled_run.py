"""Read a raw run from a Tiled server as documents."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

from ..errors import RecordingError
from .dialects import Recorded

_EXPORTER = (
    "media_types: {BlueskyRun: {application/json-seq: "
    '"bluesky_tiled_plugins.exporters:json_seq_exporter"}}'
)


def read_tiled_run(uri: str) -> Iterator[Recorded]:
    """Yield the documents of the run at a Tiled address.

    The server makes the documents anew from what it stored: events get new uids, and images that
    are not in external files come as lists of numbers.

    Parameters
    ----------
    uri : address of the run, such as ``http://host:8000/api/v1/metadata/raw/<uid>``; an
        ``api_key`` may be among its parameters.

    Raises
    ------
    RecordingError
        The server does not answer, the address is no run, or the server cannot export documents.
    """
    shown = urlsplit(uri)._replace(query="").geturl()
    run = _connect(uri, shown)
    if not hasattr(run, "documents"):
        raise RecordingError(
            f"{shown} is no BlueskyRun: give the address of a run, ending in its uid"
        )
    try:
        for name, doc in run.documents():
            yield Recorded(str(name), doc)
    except Exception as error:
        raise RecordingError(_why(shown, error)) from error


def _connect(uri: str, shown: str) -> Any:
    from tiled.client import from_uri  # costs a second: only who reads from Tiled pays it

    try:
        return from_uri(uri)
    except Exception as error:
        raise RecordingError(f"cannot open the run {shown}: {_cleaned(error)}") from error


def _why(shown: str, error: Exception) -> str:
    response = getattr(error, "response", None)
    if getattr(response, "status_code", None) == 406:
        return (
            f"the server of {shown} cannot export documents: add to its configuration {_EXPORTER}"
        )
    return f"cannot read the documents of {shown}: {_cleaned(error)}"


def _cleaned(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error).partition('?')[0]}"
