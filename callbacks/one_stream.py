"""One stream of the results, as the stock callbacks of bluesky expect a run to be."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ..streamer.frames import Document

PRIMARY = "primary"


class OneStream:
    """Hands one stream of result documents to a callback, under the name ``primary``.

    Callbacks of bluesky show the stream ``primary``: `LivePlot` and `PeakStats` no other, and
    ``BestEffortCallback`` fills its table from no other. Results have none of that name.

    Parameters
    ----------
    callback : called with ``(name, doc)``.
    stream : ``frames``, ``particles``, ``spectra`` or ``maps``.
    where : values that an event must have to be handed on.

    Examples
    --------
    >>> processor.subscribe(OneStream(BestEffortCallback()))  # doctest: +SKIP
    >>> plot = LivePlot("y", "frame")  # doctest: +SKIP
    >>> processor.subscribe(OneStream(plot, "particles", where={"particle": 3}))  # doctest: +SKIP
    """

    def __init__(
        self,
        callback: Callable[[str, Document], Any],
        stream: str = "frames",
        where: Mapping[str, Any] | None = None,
    ) -> None:
        self._callback = callback
        self._stream = stream
        self._where = dict(where or {})
        self._descriptors: dict[str, str] = {}

    def __call__(self, name: str, doc: Document) -> None:
        """Hand on a document, if it belongs to the stream."""
        if name == "start":
            self._callback(name, self._start(doc))
        elif name == "descriptor" and doc["name"] == self._stream:
            self._descriptors[doc["uid"]] = doc["run_start"]
            self._callback(name, {**doc, "name": PRIMARY})
        elif name == "event" and self._wanted(doc):
            self._callback(name, doc)
        elif name == "stop":
            run = doc["run_start"]
            self._descriptors = {k: v for k, v in self._descriptors.items() if v != run}
            self._callback(name, doc)

    def _wanted(self, doc: Document) -> bool:
        data = doc["data"]
        of_stream = doc["descriptor"] in self._descriptors
        return of_stream and all(data.get(key) == want for key, want in self._where.items())

    def _start(self, doc: Document) -> Document:
        # LiveTable ends with a line that needs these, which not every raw run has
        doc = {"scan_id": 0, "plan_type": "generator", **doc}
        hints = doc.get("hints", {})
        dimensions = [(fields, PRIMARY) for fields, _stream in hints.get("dimensions", ())]
        return {**doc, "hints": {**hints, "dimensions": dimensions}} if dimensions else doc
