"""What became of every sample frame of a run; the books must balance."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from .results import FrameResult, Status


@dataclass(frozen=True, slots=True, kw_only=True)
class Ledger:
    """received = aligned + degraded + skipped(reason) + dropped(reason).

    Attributes
    ----------
    received : sample frames announced by the documents of the run.
    aligned, degraded : frames with a result, by the status of their first revision.
    skipped, dropped : frames without, by reason.
    revised : final values that replaced provisional ones (not part of the balance).
    flats, darks : calibration images (not part of the balance).
    notices : what was odd, by kind, with how often (not part of the balance).
    """

    received: int = 0
    aligned: int = 0
    degraded: int = 0
    skipped: Mapping[str, int] = field(default_factory=dict)
    dropped: Mapping[str, int] = field(default_factory=dict)
    revised: int = 0
    flats: int = 0
    darks: int = 0
    notices: Mapping[str, int] = field(default_factory=dict)

    @property
    def balanced(self) -> bool:
        """Whether every frame received is accounted for."""
        accounted = self.aligned + self.degraded
        return self.received == accounted + sum(self.skipped.values()) + sum(self.dropped.values())

    def count(self, **changes: int) -> Ledger:
        """Add to the plain counters."""
        return replace(self, **{k: getattr(self, k) + v for k, v in changes.items()})

    def reason(self, book: str, reason: str, n: int = 1) -> Ledger:
        """Add `n` to `skipped`, `dropped` or `notices` under a reason."""
        entries: Mapping[str, int] = getattr(self, book)
        return replace(self, **{book: {**entries, reason: entries.get(reason, 0) + n}})

    def book(self, result: FrameResult) -> Ledger:
        """Enter the result of a frame."""
        if result.revision > 0:
            return self.count(revised=1)
        if result.status == Status.SKIPPED:
            return self.reason("skipped", result.reason)
        return self.count(**{str(result.status): 1})

    def as_dict(self) -> dict[str, Any]:
        """Plain data for the stop document."""
        return {
            "received": self.received,
            "aligned": self.aligned,
            "degraded": self.degraded,
            "skipped": dict(self.skipped),
            "dropped": dict(self.dropped),
            "balanced": self.balanced,
            "revised": self.revised,
            "flats": self.flats,
            "darks": self.darks,
            "notices": dict(self.notices),
        }
