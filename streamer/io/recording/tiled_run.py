"""Read a raw run from a Tiled server as documents."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from ...errors import RecordingError
from ..redact import redacted
from ..tiled.key import without_key
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
    with tiled_run(uri) as run:
        yield from _documents(run, without_key(uri))


@contextmanager
def tiled_run(uri: str) -> Iterator[Any]:
    """Give the client of the node at an address.

    Raises
    ------
    RecordingError
        The server cannot be reached, does not let us in, or has no such node.
    """
    # Tiled costs a second to import: only who reads from it pays
    from ..tiled.connection import opened

    with ExitStack() as stack:
        try:
            node = stack.enter_context(opened(uri))
        except Exception as error:
            raise RecordingError(f"cannot open {without_key(uri)}: {cleaned(error)}") from error
        yield node


def _documents(run: Any, shown: str) -> Iterator[Recorded]:
    if not hasattr(run, "documents"):
        raise RecordingError(
            f"{shown} is no BlueskyRun: give the address of a run, ending in its uid"
        )
    documents = run.documents()
    while True:
        try:
            name, doc = next(documents)
        except StopIteration:
            return
        except Exception as error:
            raise RecordingError(_why(shown, error)) from error
        yield Recorded(str(name), doc)


def _why(shown: str, error: Exception) -> str:
    response = getattr(error, "response", None)
    if getattr(response, "status_code", None) == 406:
        return (
            f"the server of {shown} cannot export documents: add to its configuration {_EXPORTER}"
        )
    return f"cannot read the documents of {shown}: {cleaned(error)}"


def cleaned(error: Exception) -> str:
    """Put an error in words, without a key."""
    return redacted(f"{type(error).__name__}: {without_key(str(error))}")
