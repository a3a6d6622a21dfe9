"""Read a raw run from a Tiled server as documents."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from urllib.parse import urlsplit

from ...errors import RecordingError
from ..redact import redacted
from ..tiled.key import stored_key
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
    with ExitStack() as stack:
        try:
            run = stack.enter_context(opened(uri))
        except Exception as error:
            raise RecordingError(f"cannot open the run {shown}: {_cleaned(error)}") from error
        yield from _documents(run, shown)


@contextmanager
def opened(uri: str) -> Iterator[Any]:
    """Open a node of a Tiled server, and close its connection at the end.

    `from_uri` would leave the connection open where the server turns us away.
    """
    # Tiled costs a second to import: only who reads from it pays
    from tiled.client import from_context
    from tiled.client.context import Context

    context, path = Context.from_any_uri(uri, api_key=stored_key(uri))
    try:
        yield from_context(context, node_path_parts=path)
    finally:
        context.close()


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
    return f"cannot read the documents of {shown}: {_cleaned(error)}"


def _cleaned(error: Exception) -> str:
    return redacted(f"{type(error).__name__}: {str(error).partition('?')[0]}")
