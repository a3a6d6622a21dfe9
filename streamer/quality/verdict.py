"""What is said about the quality of a frame."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a frame can be used.

    Attributes
    ----------
    reason : the ledger's word as in `Ledger`, empty for a good frame.
    message : what was seen, with its figures, for the operator.
    """

    reason: str = ""
    message: str = ""

    def __bool__(self) -> bool:
        """Whether the frame is good."""
        return not self.reason


GOOD = Verdict()
