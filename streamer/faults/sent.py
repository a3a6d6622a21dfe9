"""What arrives in the place of a document."""

from __future__ import annotations

from dataclasses import dataclass

from ..frames import Document


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """One document as it arrives.

    Attributes
    ----------
    name, doc : the document; of a damaged message the one that was meant.
    at : time of arrival, s, on the clock of the recording.
    message : the damaged message as it is on the wire, empty for a document that is whole.
    """

    name: str
    doc: Document
    at: float
    message: bytes = b""
