"""The window of each particle on its own, put where the particle truly is.

Cross-correlation against the window of the first frame, or of the frame before with the shifts
summed up; see `correlation` for how the peak is found. It shows what registration particle by
particle could do if finding and linking were perfect, and cannot be had in an experiment: the
centre of each window is the true position, rounded to whole pixels, so that the fraction is still
to be measured.

Settings: a window of twice the diameter; no taper and no whitening, which for single smooth
particles cost precision; 1/50 px.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ....models.arrays import Array
from .chain import Chain, against_first, against_previous
from .correlation import motion
from .interface import PeerResult, PeerStart, Stack, oracle_of
from .prepare import filled

_HALF = 2.0  # radii


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
