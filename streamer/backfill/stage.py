"""A processor that is given what was missed as well."""

from __future__ import annotations

from collections.abc import Sequence

from ..frames import NamedDocument
from ..service import Processor
from .fill import Backfill


class Backfilled:
    """Stands before a processor in the service.

    Parameters
    ----------
    processor : gets the completed stream.
    backfill : completes it.
    """

    def __init__(self, processor: Processor, backfill: Backfill) -> None:
        self._processor = processor
        self._backfill = backfill

    def process(self, documents: Sequence[NamedDocument]) -> None:
        """Process documents, and what was missing between them."""
        self._processor.process(self._backfill.fill(documents))

    def close(self) -> None:
        """End what is open."""
        self._processor.close()
