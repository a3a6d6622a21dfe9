"""Whole frames against a template: phase correlation and cross-correlation.

The absolute template is the first frame, the relative template the frame before, its shifts summed
up: the two conventional ways that Su et al. 2024 (J. Synchrotron Rad. 31, 328,
doi:10.1107/S1600577524000146) compare theirs with. See `correlation` for how the peak is found.

Settings: 1/50 px, so that the grid adds nothing to the error; the rim is tapered over an eighth of
each side, since without it the rim correlates with itself at (0, 0). Pure phase correlation
weights noise and particles alike; plain cross-correlation is what most beamline programs do, and
should suit smooth particles better, so that both are here.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
from numpy.typing import NDArray
from pystackreg import StackReg
from skimage.registration import optical_flow_ilk, optical_flow_tvl1

from .....models.arrays import Array
from .interface import (
    Chain,
    PeerResult,
    PeerStart,
    Stack,
    against_first,
    against_previous,
    filled,
    motion,
    oracle_of,
    standardised,
    windowed,
)

_TAPER = 0.25
_BIN = 2
_ILK_RADIUS = 15  # px of the binned frame
_Flow = Callable[[Stack, Stack], NDArray[np.float32]]
_HALF = 2.0  # radii


def absolute_phase(stack: Stack, _energies: Array, start: PeerStart) -> PeerResult:
    """Phase correlation with the first frame."""
    return _track_template(stack, start, True, against_first)


def absolute_correlation(stack: Stack, _energies: Array, start: PeerStart) -> PeerResult:
    """Cross-correlation with the first frame."""
    return _track_template(stack, start, False, against_first)


def relative_phase(stack: Stack, _energies: Array, start: PeerStart) -> PeerResult:
    """Phase correlation with the frame before."""
    return _track_template(stack, start, True, against_previous)


def relative_correlation(stack: Stack, _energies: Array, start: PeerStart) -> PeerResult:
    """Cross-correlation with the frame before."""
    return _track_template(stack, start, False, against_previous)


def _track_template(stack: Stack, start: PeerStart, whiten: bool, chain: Chain) -> PeerResult:
    whole, usable = filled(stack)
    spectra = np.fft.fft2(windowed(whole, _TAPER))

    def move(reference: int, frame: int, yx: Array) -> Array:
        return yx + motion(spectra[reference], spectra[frame], whiten=whiten)

    return PeerResult(yx=chain(move, usable, start))


# StackReg: least squares between whole frames on a pyramid of splines.
#
# Thevenaz, Ruttimann and Unser 1998, IEEE Trans. Image Process. 7, 27, doi:10.1109/83.650848, by
# way of pystackreg, which XANES programs use to align stacks.
#
# Settings: frames of the same median and spread, since it compares intensities. Against the first
# frame with an affine map, which takes up the strain of the electrode and was the best of
# translation, rigid and affine there; against the frame before with a rigid one, since summed up
# over a scan of 143 energies an affine map gains nothing over it (0.59 against 0.58 px).


def stackreg_first(stack: Stack, _energies: Array, start: PeerStart) -> PeerResult:
    """Affine map from the first frame."""
    return _track_stackreg(stack, start, StackReg.AFFINE, against_first)


def stackreg_previous(stack: Stack, _energies: Array, start: PeerStart) -> PeerResult:
    """Rigid map from the frame before."""
    return _track_stackreg(stack, start, StackReg.RIGID_BODY, against_previous)


def _track_stackreg(stack: Stack, start: PeerStart, kind: int, chain: Chain) -> PeerResult:
    whole, usable = filled(stack)
    images = standardised(whole)

    def move(reference: int, frame: int, yx: Array) -> Array:
        # takes (x, y, 1) of the reference to (x, y, 1) of the frame
        matrix = StackReg(kind).register(images[reference], images[frame])
        return yx @ matrix[1::-1, 1::-1].T + matrix[1::-1, 2]

    return PeerResult(yx=chain(move, usable, start))


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


def tvl1_absolute(stack: Stack, _energies: Array, start: PeerStart) -> PeerResult:
    """TV-L1 flow from the first frame to each frame."""
    return _track_flow(stack, start, optical_flow_tvl1, against_first)


def ilk_accumulated(stack: Stack, _energies: Array, start: PeerStart) -> PeerResult:
    """Lucas-Kanade flow from frame to frame, summed up along the path of each particle."""
    return _track_flow(
        stack, start, partial(optical_flow_ilk, radius=_ILK_RADIUS), against_previous
    )


def _track_flow(stack: Stack, start: PeerStart, flow: _Flow, chain: Chain) -> PeerResult:
    whole, usable = filled(stack)
    images = _binned(standardised(whole))

    def move(reference: int, frame: int, yx: Array) -> Array:
        found = flow(images[reference], images[frame])
        return yx + _BIN * _mean_over_discs(found, _to_binned(yx), start.radius / _BIN)

    return PeerResult(yx=chain(move, usable, start))


def _binned(stack: Stack) -> Stack:
    frames, height, width = (stack.shape[0], *(size // _BIN for size in stack.shape[1:]))
    cut = stack[:, : height * _BIN, : width * _BIN]
    return cut.reshape(frames, height, _BIN, width, _BIN).mean(axis=(2, 4))


def _to_binned(yx: Array) -> Array:
    """Places on the binned grid; centres of pixels are whole numbers on both."""
    return (yx - (_BIN - 1) / 2) / _BIN


def _mean_over_discs(flow: NDArray[np.float32], yx: Array, radius: Array) -> Array:
    """Mean of a flow (2, H, W) over the disc of each particle, (P, 2) px; NaN outside."""
    y, x = np.indices(flow.shape[1:])
    square = (y - yx[:, 0, None, None]) ** 2 + (x - yx[:, 1, None, None]) ** 2
    discs = (square <= radius[:, None, None] ** 2).reshape(len(yx), -1).astype(np.float64)
    area = discs.sum(axis=1)
    area[area == 0] = np.nan
    return discs @ flow.reshape(2, -1).T / area[:, None]


# The window of each particle on its own, put where the particle truly is.
#
# Cross-correlation against the window of the first frame, or of the frame before with the shifts
# summed up; see `correlation` for how the peak is found. It shows what registration particle by
# particle could do if finding and linking were perfect, and cannot be had in an experiment: the
# centre of each window is the true position, rounded to whole pixels, so that the fraction is still
# to be measured.
#
# Settings: a window of twice the diameter; no taper and no whitening, which for single smooth
# particles cost precision; 1/50 px.


def roi_first(stack: Stack, _energies: Array, start: PeerStart) -> PeerResult:
    """Correlate each window with that of the first frame."""
    return _track_roi(stack, start, against_first, "roi_first")


def roi_previous(stack: Stack, _energies: Array, start: PeerStart) -> PeerResult:
    """Correlate each window with that of the frame before."""
    return _track_roi(stack, start, against_previous, "roi_previous")


def _track_roi(stack: Stack, start: PeerStart, chain: Chain, name: str) -> PeerResult:
    whole, usable = filled(stack)
    known = oracle_of(start, name)
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


def _window(image: NDArray[np.float32], centre: Array, half: int) -> NDArray[np.float32]:
    """Cut a square, its rim repeated where it leaves the frame, and subtract its mean."""
    rows, columns = (
        np.clip(np.arange(-half, half + 1) + int(at), 0, size - 1)
        for at, size in zip(centre, image.shape, strict=True)
    )
    window = image[np.ix_(rows, columns)]
    return window - window.mean()
