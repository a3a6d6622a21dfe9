"""What a peer is given and what it gives back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ....models.arrays import Array
from ...errors import ConfigError

Stack = NDArray[np.float32]
LOST = -1


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerStart:
    """Where P particles are at the start, so that peers are compared on registration only.

    Attributes
    ----------
    frame0 : the reference frame, 0-based.
    yx : (P, 2) true positions in it, px; NaN for a particle that is not in it.
    radius : (P,) equal-area radii, px.
    oracle_yx : (F, P, 2) true positions in every frame, px, for peers that cannot do without;
        None where there is no truth.
    """

    frame0: int
    yx: Array
    radius: Array
    oracle_yx: Array | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerResult:
    """Where a peer thinks the particles are.

    Attributes
    ----------
    yx : (F, P, 2) positions, px; NaN where lost.
    ids : (F, P) int64, the peer's own identity of each particle, -1 where lost; None if it has no
        notion of identity.
    """

    yx: Array
    ids: NDArray[np.int64] | None = None


class Peer(Protocol):
    """Follows particles through a stack; deterministic."""

    def __call__(self, stack: Stack, energies: Array, start: PeerStart, /) -> PeerResult:
        """Follow the particles.

        Parameters
        ----------
        stack : (F, H, W) float32, optical density, NaN where invalid.
        energies : (F,) eV.
        start : the particles.
        """
        ...


def oracle_of(start: PeerStart, peer: str) -> Array:
    """Return the true positions (F, P, 2) that a peer needs.

    Raises
    ------
    ConfigError
        If there are none.
    """
    if start.oracle_yx is None:
        raise ConfigError(
            f"peer {peer!r} needs true positions in every frame (oracle_yx), got None; "
            "leave it out where there is no truth"
        )
    return start.oracle_yx
