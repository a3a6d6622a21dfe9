"""SIFT key points and a RANSAC affine against the first frame.

Lowe 2004, Int. J. Comput. Vis. 60, 91, doi:10.1023/B:VISI.0000029664.99615.94; Fischler and Bolles
1981, Commun. ACM 24, 381, doi:10.1145/358669.358692. One of the conventional methods that Su et
al. 2024 (doi:10.1107/S1600577524000146) compare theirs with. OpenCV's, which is ten times as fast
as scikit-image's.

Settings: each frame scaled to 8 bit by its own levels, so that the contrast threshold means the
same below and above the edge; that threshold a quarter of Lowe's, which finds too few points below
the edge; matches that pass Lowe's ratio and agree both ways; RANSAC within 3 px. Fewer than ten
agreeing points, or a change of area by more than a tenth, count as lost.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from .....models.arrays import Array
from .interface import PeerResult, PeerStart, Stack, against_first, filled, standardised

_CONTRAST = 0.01

_RATIO = 0.8

_WITHIN = 3.0  # px

_FEWEST = 10

_AREA = 0.1

_Points = tuple[NDArray[np.float32], NDArray[np.float32]]

_Indices = NDArray[np.int64]


def sift_affine(stack: Stack, _energies: Array, start: PeerStart) -> PeerResult:
    """Affine map from the key points of the first frame to those of each frame."""
    whole, usable = filled(stack)
    detector = cv2.SIFT.create(contrastThreshold=_CONTRAST)
    grey = np.clip(standardised(whole) * 160 + 80, 0, 255).astype(np.uint8)
    points = [_points(detector, image) for image in grey]

    def move(reference: int, frame: int, yx: Array) -> Array | None:
        matrix = _affine(points[reference], points[frame])
        return None if matrix is None else yx @ matrix[:, :2].T + matrix[:, 2]

    return PeerResult(yx=against_first(move, usable, start))


def _points(detector: cv2.SIFT, image: NDArray[np.uint8]) -> _Points:
    """Places (N, 2), x before y, and descriptors (N, 128)."""
    found, descriptors = detector.detectAndCompute(image, None)
    places = np.array([point.pt for point in found], np.float32).reshape(-1, 2)
    return places, np.asarray(descriptors, np.float32) if found else np.zeros((0, 128), np.float32)


def _affine(a: _Points, b: _Points) -> Array | None:
    """Map (2, 3) of places (y, x, 1) of one frame to (y, x) of another; None if there is none."""
    first, second = _matches(a[1], b[1])
    if len(first) < _FEWEST:
        return None
    matrix, inliers = cv2.estimateAffine2D(
        a[0][first], b[0][second], method=cv2.RANSAC, ransacReprojThreshold=_WITHIN
    )
    if matrix is None or inliers.sum() < _FEWEST:
        return None
    if abs(np.linalg.det(matrix[:, :2]) - 1) > _AREA:
        return None
    return np.column_stack([matrix[::-1, 1::-1], matrix[::-1, 2]]).astype(np.float64)


def _matches(a: NDArray[np.float32], b: NDArray[np.float32]) -> tuple[_Indices, _Indices]:
    """Indices of descriptors that are each other's nearest, and much nearer than the next."""
    if min(len(a), len(b)) < 2:
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    square = (a**2).sum(1)[:, None] + (b**2).sum(1) - 2 * a @ b.T
    nearest, two = square.argmin(1), np.partition(square, 1, axis=1)[:, :2]
    mutual = square.argmin(0)[nearest] == np.arange(len(a))
    good = np.flatnonzero(mutual & (two[:, 0] < _RATIO**2 * two[:, 1]))
    return good, nearest[good]
