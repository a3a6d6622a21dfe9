"""Documents that were missed, fetched from where somebody else has kept them.

A service that joins in the middle of a run has seen neither its start nor its descriptors, and one
that lost its connection for a moment lacks events. `Backfill` notices both and puts what is missing
into the stream, in front of the document that made it notice.
"""

from __future__ import annotations

from .fill import Backfill, Backfilled, Provider
from .providers import make_provider

__all__ = ["Backfill", "Backfilled", "Provider", "make_provider"]
