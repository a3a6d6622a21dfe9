"""Matrix from moves of the stage to shifts of the image: its fit and its checks."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from ...models.arrays import Array
from ...streamer.errors import FeedbackError
from .settings import FeedbackSettings


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
