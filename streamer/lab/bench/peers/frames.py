"""Methods that register whole frames, or the window of each particle, and follow its place."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter
from skimage.registration import optical_flow_ilk, optical_flow_tvl1

from .....models.arrays import Array
from ....errors import ConfigError
from .interface import (
    Chain,
    PeerResult,
    PeerStart,
    Stack,
    against_first,
    against_previous,
    filled,
    motion,
    standardised,
    windowed,
)

_TAPER = 0.25  # see below, like all settings
_BIN = 2
_ILK_RADIUS = 15  # px of the binned frame
_Flow = Callable[[Stack, Stack], NDArray[np.float32]]
_HALF = 2.0  # radii


# Whole frames against a template: phase correlation and cross-correlation.
#
# The absolute template is the first frame, the relative template the frame before, its shifts
# summed up: the two conventional ways that Su et al. 2024 (J. Synchrotron Rad. 31, 328,
# doi:10.1107/S1600577524000146) compare theirs with. See `motion` for how the peak is found.
#
# Settings: 1/50 px, so that the grid adds nothing to the error; the rim is tapered over an eighth
# of each side, since without it the rim correlates with itself at (0, 0). Pure phase correlation
# weights noise and particles alike; plain cross-correlation is what most beamline programs do, and
# should suit smooth particles better, so that both are here.


def _track_template(
    stack: Stack, _energies: Array, start: PeerStart, *, whiten: bool, chain: Chain
) -> PeerResult:
    whole, usable = filled(stack)
    spectra = np.fft.fft2(windowed(whole, _TAPER))

    def move(reference: int, frame: int, yx: Array) -> Array:
        return yx + motion(spectra[reference], spectra[frame], whiten=whiten)

    return PeerResult(yx=chain(move, usable, start))


absolute_phase = partial(_track_template, whiten=True, chain=against_first)
absolute_correlation = partial(_track_template, whiten=False, chain=against_first)
relative_phase = partial(_track_template, whiten=True, chain=against_previous)
relative_correlation = partial(_track_template, whiten=False, chain=against_previous)


# StackReg: least squares between whole frames on a pyramid of splines.
#
# Thevenaz, Ruttimann and Unser 1998, IEEE Trans. Image Process. 7, 27, doi:10.1109/83.650848, by
# way of pystackreg, which XANES programs use to align stacks.
#
# Settings: frames of the same median and spread, since it compares intensities. Against the first
# frame with an affine map, which takes up the strain of the electrode and was the best of
# translation, rigid and affine there; against the frame before with a rigid one, since summed up
# over a scan of 143 energies an affine map gains nothing over it (0.59 against 0.58 px).


def _track_stackreg(
    stack: Stack, _energies: Array, start: PeerStart, *, kind: str, chain: Chain
) -> PeerResult:
    from pystackreg import StackReg

    transform = StackReg(getattr(StackReg, kind))
    whole, usable = filled(stack)
    images = standardised(whole)

    def move(reference: int, frame: int, yx: Array) -> Array:
        # takes (x, y, 1) of the reference to (x, y, 1) of the frame
        matrix = transform.register(images[reference], images[frame])
        return yx @ matrix[1::-1, 1::-1].T + matrix[1::-1, 2]

    return PeerResult(yx=chain(move, usable, start))


stackreg_first = partial(_track_stackreg, kind="AFFINE", chain=against_first)
stackreg_previous = partial(_track_stackreg, kind="RIGID_BODY", chain=against_previous)


# Dense optical flow, sampled at the particles.
#
# TV-L1 (Zach, Pock and Bischof 2007, doi:10.1007/978-3-540-74936-3_22) and iterative Lucas-Kanade
# (Le Besnerais and Champagnat 2005, doi:10.1109/ICIP.2005.1529706), as scikit-image has them. Su et
# al. 2024 (doi:10.1107/S1600577524000146) considered optical flow and gave it up for the contrast
# that changes with energy; their later work uses it for the deformation.
#
# Settings: frames of the same median and spread, since flow supposes constant brightness; half
# resolution, which costs a quarter, averages the noise and doubles the reach of the pyramid; the
# mean of the flow over the disc of each particle, not at its centre alone, where a smooth particle
# has no gradient.


def _track_flow(
    stack: Stack, _energies: Array, start: PeerStart, *, flow: _Flow, chain: Chain
) -> PeerResult:
    whole, usable = filled(stack)
    images = _binned(standardised(whole), _BIN)

    def move(reference: int, frame: int, yx: Array) -> Array:
        found = flow(images[reference], images[frame])
        # centres of pixels are whole numbers on the binned grid too
        binned = (yx - (_BIN - 1) / 2) / _BIN
        return yx + _BIN * _mean_over_discs(found, binned, start.radius / _BIN)

    return PeerResult(yx=chain(move, usable, start))


# from the first frame, or summed up from frame to frame along the path of each particle
tvl1_absolute = partial(_track_flow, flow=optical_flow_tvl1, chain=against_first)
ilk_accumulated = partial(
    _track_flow, flow=partial(optical_flow_ilk, radius=_ILK_RADIUS), chain=against_previous
)


def _binned(stack: Stack, size: int) -> Stack:
    frames, height, width = (stack.shape[0], *(n // size for n in stack.shape[1:]))
    cut = stack[:, : height * size, : width * size]
    return cut.reshape(frames, height, size, width, size).mean(axis=(2, 4))


def _mean_over_discs(flow: NDArray[np.float32], yx: Array, radius: Array) -> Array:
    """Average a flow (2, H, W) over the disc of each particle, (P, 2) px; NaN outside."""
    y, x = np.indices(flow.shape[1:])
    square = (y - yx[:, 0, None, None]) ** 2 + (x - yx[:, 1, None, None]) ** 2
    discs = (square <= radius[:, None, None] ** 2).reshape(len(yx), -1).astype(np.float64)
    area = discs.sum(axis=1)
    area[area == 0] = np.nan
    return discs @ flow.reshape(2, -1).T / area[:, None]


# The window of each particle on its own, put where the particle truly is.
#
# Cross-correlation against the window of the first frame, or of the frame before with the shifts
# summed up; see `motion` for how the peak is found. It shows what registration particle by
# particle could do if finding and linking were perfect, and cannot be had in an experiment: the
# centre of each window is the true position, rounded to whole pixels, so that the fraction is still
# to be measured.
#
# Settings: a window of twice the diameter; no taper and no whitening, which for single smooth
# particles cost precision; 1/50 px.


def _track_roi(
    stack: Stack, _energies: Array, start: PeerStart, *, chain: Chain, name: str
) -> PeerResult:
    whole, usable = filled(stack)
    known = start.oracle_yx
    if known is None:
        raise ConfigError(
            f"peer {name!r} needs true positions in every frame (oracle_yx), got None; "
            "leave it out where there is no truth"
        )
    inside = ((known >= 0) & (known <= np.array(stack.shape[1:]) - 1)).all(axis=2, keepdims=True)
    centres = np.where(inside, np.round(known), np.nan)
    half = np.ceil(_HALF * start.radius).astype(int)

    def move(reference: int, frame: int, yx: Array) -> Array:
        moved = np.full_like(yx, np.nan)
        ends = centres[[reference, frame]]
        for p in np.flatnonzero(np.isfinite(ends).all(axis=(0, 2))):
            spectra = [
                np.fft.fft2(_window(whole[k], at, half[p]))
                for k, at in zip((reference, frame), ends[:, p], strict=True)
            ]
            moved[p] = yx[p] + ends[1, p] - ends[0, p] + motion(*spectra, whiten=False)
        return moved

    return PeerResult(yx=chain(move, usable, start))


roi_first = partial(_track_roi, chain=against_first, name="roi_first")
roi_previous = partial(_track_roi, chain=against_previous, name="roi_previous")


def _window(image: NDArray[np.float32], centre: Array, half: int) -> NDArray[np.float32]:
    """Cut a square, its rim repeated where it leaves the frame, and subtract its mean."""
    rows, columns = (
        np.clip(np.arange(-half, half + 1) + int(at), 0, size - 1)
        for at, size in zip(centre, image.shape, strict=True)
    )
    window = image[np.ix_(rows, columns)]
    return window - window.mean()


# SIFT key points and a RANSAC affine against the first frame.
#
# Lowe 2004, Int. J. Comput. Vis. 60, 91, doi:10.1023/B:VISI.0000029664.99615.94; Fischler and
# Bolles 1981, Commun. ACM 24, 381, doi:10.1145/358669.358692. One of the conventional methods that
# Su et al. 2024 (doi:10.1107/S1600577524000146) compare theirs with. OpenCV's, which is ten times
# as fast as scikit-image's.
#
# Settings: each frame scaled to 8 bit by its own levels, so that the contrast threshold means the
# same below and above the edge; that threshold a quarter of Lowe's, which finds too few points
# below the edge; matches that pass Lowe's ratio and agree both ways; RANSAC within 3 px. Fewer than
# ten agreeing points, or a change of area by more than a tenth, count as lost.

_CONTRAST = 0.01
_RATIO = 0.8  # Lowe 2004
_WITHIN = 3.0  # px
_FEWEST = 10
_AREA = 0.1
_Points = tuple[NDArray[np.float32], NDArray[np.float32]]
_Indices = NDArray[np.int64]


def sift_affine(stack: Stack, _energies: Array, start: PeerStart) -> PeerResult:
    """Fit an affine map from the key points of the first frame to those of each frame."""
    import cv2

    whole, usable = filled(stack)
    detector = cv2.SIFT.create(contrastThreshold=_CONTRAST)
    grey = np.clip(standardised(whole) * 160 + 80, 0, 255).astype(np.uint8)
    points = [_key_points(detector, image) for image in grey]

    def move(reference: int, frame: int, yx: Array) -> Array | None:
        matrix = _affine(points[reference], points[frame])
        return None if matrix is None else yx @ matrix[:, :2].T + matrix[:, 2]

    return PeerResult(yx=against_first(move, usable, start))


def _key_points(detector: Any, image: NDArray[np.uint8]) -> _Points:
    """Detect places (N, 2), x before y, and descriptors (N, 128)."""
    found, descriptors = detector.detectAndCompute(image, None)
    places = np.array([point.pt for point in found], np.float32).reshape(-1, 2)
    return places, np.asarray(descriptors, np.float32) if found else np.zeros((0, 128), np.float32)


def _affine(a: _Points, b: _Points) -> Array | None:
    """Fit the map (2, 3) of places (y, x, 1) in one frame to (y, x) in another, if there is one."""
    import cv2

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
    """Match descriptors that are each other's nearest, and much nearer than the next."""
    if min(len(a), len(b)) < 2:
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    square = (a**2).sum(1)[:, None] + (b**2).sum(1) - 2 * a @ b.T
    nearest, two = square.argmin(1), np.partition(square, 1, axis=1)[:, :2]
    mutual = square.argmin(0)[nearest] == np.arange(len(a))
    good = np.flatnonzero(mutual & (two[:, 0] < _RATIO**2 * two[:, 1]))
    return good, nearest[good]


# Least total variation of the difference map, a method made for XANES.
#
# Xiao, Xu, Hou, Yang and Lin 2022, J. Synchrotron Rad. 29, 1085, doi:10.1107/S1600577522005598: the
# shift at which the sum of the absolute gradients of (reference - frame) is least. Written anew
# after the paper, for this comparison only.
#
# Settings: each frame against the first one, as the frames are (a difference of contrast leaves the
# minimum where it is, which is the point of the method); smoothed by 3 px as the authors do; a
# pyramid of four levels that reaches 64 px, and at full resolution a parabola per axis.

_SMOOTH = 3.0  # px
_LEVELS = (8, 4, 2, 1)
_REACH = 8  # px of the coarsest level
_STEP = 2  # px of the finer levels
_Whole = NDArray[np.int64]


def tvdm(stack: Stack, _energies: Array, start: PeerStart) -> PeerResult:
    """Find the translation of each frame against the first one."""
    whole, usable = filled(stack)
    smooth = np.stack([gaussian_filter(image, _SMOOTH) for image in whole]).astype(np.float32)
    pyramids = [_binned(smooth, level) for level in _LEVELS]

    def move(reference: int, frame: int, yx: Array) -> Array:
        return yx + _translation([(level[reference], level[frame]) for level in pyramids])

    return PeerResult(yx=against_first(move, usable, start))


def _translation(pairs: list[tuple[Stack, Stack]]) -> Array:
    """Search for the motion (2,) px between two images, given on each level of the pyramid."""
    best, reach = np.zeros(2, np.int64), _REACH
    for (reference, frame), size in zip(pairs, _LEVELS, strict=True):
        values = _search(reference, frame, best, reach)
        at = np.array(np.unravel_index(values.argmin(), values.shape))
        best = best + at - reach
        if size > 1:
            best, reach = best * (size // _LEVELS[_LEVELS.index(size) + 1]), _STEP
    return best + _parabola(pairs[-1], best)


def _search(reference: Stack, frame: Stack, centre: _Whole, reach: int) -> Array:
    """Compute the total variation at whole shifts within reach of a centre, (2 reach + 1,) * 2."""
    steps = range(-reach, reach + 1)
    return np.array(
        [[_variation(reference, frame, centre + np.array([y, x])) for x in steps] for y in steps]
    )


def _variation(reference: Stack, frame: Stack, motion: _Whole) -> float:
    """Average the absolute gradient of the difference, where both images are known."""
    both = [
        (slice(max(0, -m), size - max(0, m)), slice(max(0, m), size + min(0, m)))
        for m, size in zip(motion.tolist(), reference.shape, strict=True)
    ]
    difference = reference[both[0][0], both[1][0]] - frame[both[0][1], both[1][1]]
    return float(sum(np.abs(np.diff(difference, axis=axis)).mean() for axis in (0, 1)))


def _parabola(pair: tuple[Stack, Stack], best: _Whole) -> Array:
    """Work out the fraction (2,) px by which the minimum lies beside the best whole shift."""
    values = _search(*pair, best, 1)
    below, above = np.array([values[0, 1], values[1, 0]]), np.array([values[2, 1], values[1, 2]])
    curvature = below + above - 2 * values[1, 1]
    return np.where(curvature > 0, (below - above) / 2 / np.maximum(curvature, 1e-30), 0.0)
