"""Reads a journal while it grows."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from io import BufferedReader

from ...errors import JournalError
from ..wire.codec import BadMessageError
from ..wire.message import Received
from .segments import JournalFolder, from_message, read_record

logger = logging.getLogger(__name__)


class JournalReader:
    """Gives the documents from a position on, as far as they have been written.

    Parameters
    ----------
    folder : of the journal.
    position : of the first document to give; None for the oldest there is.

    Attributes
    ----------
    position : after the document given last.
    damaged : records that could not be read.

    Raises
    ------
    JournalError
        The journal no longer reaches back to that position.
    """

    def __init__(self, folder: JournalFolder, position: int | None = None) -> None:
        self._folder = folder
        begins = folder.segments()
        oldest = begins[0] if begins else 0
        if position is not None and position < oldest:
            raise JournalError(
                f"the journal {folder.path} begins at {oldest}, documents from {position} on are "
                "wanted: those between were removed"
            )
        self.position = oldest if position is None else position
        self.damaged = 0
        self._file: BufferedReader | None = None
        self._begin = 0

    @property
    def end(self) -> int:
        """Return the position after what has been written so far, by the newest segment."""
        begins = self._folder.segments()
        if not begins:
            return 0
        return begins[-1] + self._folder.segment(begins[-1]).stat().st_size

    def read(self, max_items: int, max_bytes: int) -> list[tuple[int, Received]]:
        """Give what has been written, with the position of each document.

        Parameters
        ----------
        max_items, max_bytes : most at once; a larger document comes alone.
        """
        found: list[tuple[int, Received]] = []
        size = 0
        for at, item in self._records():
            found.append((at, item))
            size += item.nbytes
            if len(found) >= max_items or size >= max_bytes:
                break
        return found

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _records(self) -> Iterator[tuple[int, Received]]:
        while (file := self._open()) is not None:
            at = self.position
            file.seek(at - self._begin)
            record = read_record(file)
            if record is None:
                if not self._next_segment():
                    return
                continue
            self.position += record.size
            if not record.intact:
                self._pass_over("its checksum fails")
                continue
            try:
                named = from_message(record.message)
            except BadMessageError as error:
                self._pass_over(str(error))
                continue
            if named is not None:
                yield at, Received(*named, record.received_at, len(record.message))

    def _next_segment(self) -> bool:
        """Go on to the next segment if there is one: then what is torn here was never finished."""
        later = [begin for begin in self._folder.segments() if begin > self._begin]
        if later:
            self.close()
            self.position = later[0]
        return bool(later)

    def _open(self) -> BufferedReader | None:
        if self._file is None:
            begins = [begin for begin in self._folder.segments() if begin <= self.position]
            if not begins:
                return None
            self._begin = begins[-1]
            self._file = self._folder.segment(self._begin).open("rb")
        return self._file

    def _pass_over(self, why: str) -> None:
        self.damaged += 1
        if self.damaged == 1:
            logger.error(
                "a document of the journal cannot be read: %s; further ones are counted", why
            )
