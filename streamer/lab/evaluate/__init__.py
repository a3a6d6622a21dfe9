"""Results against the truth of the simulator: errors, identities, pictures."""

from .accuracy import Score, Spread, score
from .matching import MEASURED

__all__ = ["MEASURED", "Score", "Spread", "score"]
