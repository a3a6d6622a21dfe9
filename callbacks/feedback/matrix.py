"""Matrix from moves of the stage to shifts of the image: its fit and its checks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtr, stdtrit

from ...models.arrays import Array
from ...streamer.errors import FeedbackError
from .decision import FeedbackSettings, Moves
from .latest import LatestFrame


@dataclass(frozen=True, slots=True, kw_only=True)
class StageMatrix:
    """Linear map from moves of two axes to shifts of the image.

    Attributes
    ----------
    px_per_unit : (2, 2) float64; row: image (y, x), column: axes in their order, px per unit.
    error : rms misfit of the test moves, px; NaN for a matrix that was not measured.
    """

    px_per_unit: Array
    error: float = float("nan")

    @classmethod
    def given(cls, px_per_unit: ArrayLike | StageMatrix) -> StageMatrix:
        """Take a matrix that somebody knows; the loop tries it before it believes it.

        One that was measured is taken as it is.

        Raises
        ------
        FeedbackError
            It is not 2 x 2, or cannot be inverted.
        """
        if isinstance(px_per_unit, StageMatrix):
            return px_per_unit
        matrix = np.asarray(px_per_unit, dtype=np.float64)
        if matrix.shape != (2, 2) or not np.isfinite(matrix).all() or not np.linalg.det(matrix):
            raise FeedbackError(
                f"the matrix from stage to image should be 2 x 2 and invertible, got {matrix}"
            )
        return cls(px_per_unit=matrix)

    @property
    def measured(self) -> bool:
        """Return whether it comes from test moves."""
        return bool(np.isfinite(self.error))

    def to_stage(self, shift: Array) -> Array:
        """Return the move of the axes, (2,) units, that shifts the image by (2,) px."""
        return np.linalg.solve(self.px_per_unit, shift).astype(np.float64)

    def to_image(self, move: Array) -> Array:
        """Return the shift of the image, (2,) px, that a move of the axes, (2,) units, causes."""
        return self.px_per_unit @ move


def fit_matrix(
    places: ArrayLike, drifts: ArrayLike, times: ArrayLike, settings: FeedbackSettings
) -> StageMatrix:
    """Fit the matrix to test moves by least squares, with a steady drift meanwhile taken out.

    Parameters
    ----------
    places : (N, 2) units, of the axes. drifts : (N, 2) px, of the image. times : (N,) s.
        N >= 5, each axis moved.

    Raises
    ------
    FeedbackError
        The image did not follow the stage as a linear map would have it, or along one line only.
    """
    place, drift = np.asarray(places, float), np.asarray(drifts, float)
    when = np.asarray(times, float)
    span = max(float(np.ptp(when)), 1e-9)
    design = np.column_stack([place - place[0], (when - when[0]) / span, np.ones(len(when))])
    solved, _, rank, _ = np.linalg.lstsq(design, drift, rcond=None)
    if rank < design.shape[1]:
        raise FeedbackError(
            f"{len(place)} test moves do not tell the matrix: move each axis, out and back"
        )
    matrix = solved[:2].T.astype(np.float64)
    free = max(len(place) - design.shape[1], 1)
    error = float(np.sqrt(((drift - design @ solved) ** 2).sum() / (2 * free)))
    shifts = np.linalg.norm(matrix, axis=0) * np.ptp(place, axis=0)
    if error > settings.test_error * shifts.min():
        raise FeedbackError(
            f"the image did not follow the test moves: shifts of {shifts.round(1)} px with "
            f"a misfit of {error:.1f} px; are these its axes, and the moves long enough?"
        )
    skew = float(np.linalg.cond(matrix))
    if skew > settings.max_skew:
        raise FeedbackError(
            f"the test moves of both axes shift the image along almost the same line, or by "
            f"unlike amounts (condition {skew:.1f}, at most {settings.max_skew:g}): {matrix}"
        )
    return StageMatrix(px_per_unit=matrix, error=error)


def check_against(measured: StageMatrix, expected: StageMatrix, settings: FeedbackSettings) -> None:
    """Compare what was measured with what somebody expected.

    Raises
    ------
    FeedbackError
        A sign or a size is another one; the text says which axis.
    """
    for axis in (0, 1):
        want, got = expected.px_per_unit[:, axis], measured.px_per_unit[:, axis]
        along = float(want @ got / (want @ want))
        if along < 0:
            raise FeedbackError(
                f"axis {axis} moves the image the other way: expected {want.round(2)} px per "
                f"unit (y, x), measured {got.round(2)}"
            )
        if np.linalg.norm(got - want) > settings.response_tolerance * np.linalg.norm(want):
            raise FeedbackError(
                f"axis {axis} moves the image otherwise: expected {want.round(2)} px per unit "
                f"(y, x), measured {got.round(2)}"
            )


# by eye, unless it says otherwise
KEPT_PAIRS = 10  # pairs of frames that the response is fitted to
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
