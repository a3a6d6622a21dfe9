"""The journal: every received document on disk before anything else is done with it.

A process of its own, the keeper (`operando journal`), receives from 0MQ and appends; the processor
reads what the keeper has written, at its own pace. So a processor that is slow, stuck or killed
costs no document, and memory stays small however far it lags.

A journal is a folder::

    00000000000000000000.journal   segments, named by the position of their first byte
    keeper.json                    who keeps it, and what it has seen
    reader.json                    who reads it, and how far results are confirmed
    keeper.lock, reader.lock       held by either for as long as it lives

A position is the number of bytes before a record, counted over all segments since the first.
"""

from __future__ import annotations

from .reader import JournalReader
from .writer import JournalSettings, JournalWriter

__all__ = ["JournalReader", "JournalSettings", "JournalWriter"]
