"""A rendered run that is published again and again, each time as a new run."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

from ..frames import NamedDocument
from ..simulate import SimSettings, simulate_documents


@dataclass(frozen=True, slots=True)
class Recycled:
    """Documents of one run that stand for any number of runs.

    Attributes
    ----------
    documents : of the run, its flats first.
    frames : sample frames in it.
    """

    documents: Sequence[NamedDocument]
    frames: int

    @classmethod
    def render(cls, settings: SimSettings) -> Recycled:
        """Render the run, one exposure an event."""
        documents = list(simulate_documents(settings, order="flat_first", chunk=1))
        primary = _primary(documents)
        frames = sum(n == "event" and d["descriptor"] == primary for n, d in documents)
        return cls(documents, frames)

    def run(self, sample: str | None = None) -> Iterator[tuple[NamedDocument, bool]]:
        """Documents of a run of its own, with the time of now, and whether each is a sample frame.

        Parameters
        ----------
        sample : its sample; None: none is named.
        """
        uids: dict[str, str] = {}
        primary = _primary(self.documents)
        for name, doc in self.documents:
            new = {key: _renamed(doc[key], uids) for key in _UIDS if key in doc}
            changed: dict[str, Any] = {**doc, **new, "time": time.time()}
            if name == "start":
                changed.pop("sample", None)
                if sample is not None:
                    changed["sample"] = sample
            yield (name, changed), name == "event" and doc["descriptor"] == primary


_UIDS = ("uid", "run_start", "descriptor")


def _renamed(uid: str, uids: dict[str, str]) -> str:
    return uids.setdefault(uid, str(uuid4()))


def _primary(documents: Sequence[NamedDocument]) -> str:
    return next(d["uid"] for n, d in documents if n == "descriptor" and d["name"] == "primary")
