"""Response of the images to the moves: a wrong sign must not run away."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, stdtrit

from ...models.arrays import Array
from .decision import Moves
from .latest import LatestFrame
from .settings import FeedbackSettings

# by eye, unless it says otherwise
KEPT = 10  # pairs of frames that the response is fitted to
_LEAST = 3  # frame pairs until a matrix that was not measured is tried
_SURE = 3.0  # standard errors of a normal distribution: wrong once in 370
_ANY_GAIN = 3.0  # standard deviation of the gain of a matrix that was only given, 1
_MEASURED_GAIN = 0.3  # of one that test moves have measured
_BACKWARDS = -0.25  # gain below which the images go the other way rather than nowhere
_PRIOR_WORTH = 4.0  # components that the usual scatter counts for
_FIRST = 4.0  # of the scatter: a first move of this length shows its sign


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """Two frames, the one before the frame that a move was decided by, and the one after it.

    Attributes
    ----------
    moved : (2,) px, the moves between them. change : (2,) px, of the drift.
    """

    moved: Array
    change: Array


@dataclass(frozen=True, slots=True, kw_only=True)
class Response:
    """Response of the images to the moves so far.

    Attributes
    ----------
    gain : factor between a move and the shift that it causes, as a complex number: 1 for a right
        matrix, -1 for a wrong sign, of another argument for a rotation.
    sigma : its standard error per component. sure : how many of them are beyond doubt, as few
        frames do not tell their own scatter well (Student's t).
    scatter : px rms per component, what the field does by itself between two frames.
    pairs : how many were looked at.
    """

    gain: complex
    sigma: float
    sure: float
    scatter: float
    pairs: int


def pair_of(frames: Sequence[LatestFrame], moves: Moves) -> Pair | None:
    """Return what three frames in a row say of the moves between them, None if nothing.

    The frame in the middle is left out: a move was decided by its jitter, which would be mistaken
    for an answer to the move. For the same reason nothing is told by a move that was decided by
    the first of the three alone.
    """
    if len(frames) < 3:
        return None
    first, middle, last = (frame.time for frame in frames)
    before, after = moves.between(first, middle), moves.between(middle, last)
    if before.any() and not after.any():
        return None
    return Pair(moved=before + after, change=frames[2].drift - frames[0].drift)


def respond(pairs: Sequence[Pair], settings: FeedbackSettings, *, measured: bool) -> Response:
    """Fit the change of the drift by a steady drift and a multiple of the moves.

    With vectors as complex numbers, ``change = drift + gain * moved`` is linear in both unknowns,
    and tells a wrong sign, size and rotation alike. Where the moves do nothing but take back a
    steady drift, the two cannot be told apart, and `sigma` is large; priors keep it finite.

    Parameters
    ----------
    measured : the matrix comes from test moves, which are evidence, too.
    """
    moved = _complex([pair.moved for pair in pairs])
    change = _complex([pair.change for pair in pairs])
    usual = settings.response_px / _SURE
    design = np.column_stack([np.ones(len(pairs)), moved])
    spread = _MEASURED_GAIN if measured else _ANY_GAIN
    prior = np.diag([4.0 / settings.response_px**2, 1.0 / spread**2])
    scatter, fitted, covariance = usual, np.array([0, 1], complex), np.linalg.inv(prior)
    for _ in range(2):
        precision = design.conj().T @ design / scatter**2 + prior
        covariance = np.linalg.inv(precision)
        fitted = covariance @ (design.conj().T @ change / scatter**2 + prior @ (0, 1))
        rest = float((np.abs(change - design @ fitted) ** 2).sum())
        free = max(2 * len(pairs) - 4, 0)
        scatter = float(np.sqrt((_PRIOR_WORTH * usual**2 + rest) / (_PRIOR_WORTH + free)))
    return Response(
        gain=complex(fitted[1]),
        sigma=float(np.sqrt(covariance[1, 1].real)),
        sure=-float(stdtrit(_PRIOR_WORTH + max(2 * len(pairs) - 4, 0), ndtr(-_SURE))),
        scatter=scatter,
        pairs=len(pairs),
    )


def refused(response: Response, settings: FeedbackSettings) -> str:
    """Return why no further move is to be made: reversed or astray; "" for no reason."""
    off = abs(response.gain - 1)
    if off - response.sure * response.sigma <= settings.response_tolerance:
        return ""
    return "reversed" if response.gain.real < _BACKWARDS else "astray"


def proven(response: Response) -> bool:
    """Return whether a move surely brings the field nearer."""
    return abs(response.gain - 1) + response.sure * response.sigma < 1


def first_move(response: Response, settings: FeedbackSettings) -> float:
    """Return the least length of a move with a matrix that is not proven, px.

    It is so long that its sign is seen in one frame, and infinite as long as nobody knows what the
    field does by itself.
    """
    if response.pairs < _LEAST:
        return float("inf")
    return max(settings.response_px, _FIRST * response.scatter)


def _complex(vectors: Sequence[Array]) -> NDArray[np.complex128]:
    return np.array([complex(v[0], v[1]) for v in vectors], dtype=np.complex128)
