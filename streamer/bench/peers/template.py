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

import numpy as np

from ....models.arrays import Array
from .chain import Chain, against_first, against_previous
from .correlation import motion
from .interface import PeerResult, PeerStart, Stack
from .prepare import filled, windowed

_TAPER = 0.25


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
