"""StackReg: least squares between whole frames on a pyramid of splines.

Thevenaz, Ruttimann and Unser 1998, IEEE Trans. Image Process. 7, 27, doi:10.1109/83.650848, by way
of pystackreg, which XANES programs use to align stacks.

Settings: frames of the same median and spread, since it compares intensities. Against the first
frame with an affine map, which takes up the strain of the electrode and was the best of
translation, rigid and affine there; against the frame before with a rigid one, since summed up
over a scan of 143 energies an affine map gains nothing over it (0.59 against 0.58 px).
"""

from __future__ import annotations

from pystackreg import StackReg

from ....models.arrays import Array
from .chain import Chain, against_first, against_previous
from .interface import PeerResult, PeerStart, Stack
from .prepare import filled, standardised


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
