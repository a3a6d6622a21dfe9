"""The interface of a peer, and what several of them share: preparation, chains, correlation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt, map_coordinates
from scipy.signal.windows import tukey
from skimage.registration import phase_cross_correlation

from .....models.arrays import Array

Stack = NDArray[np.float32]
LOST = -1
_BLOCK = 16  # px; by eye: larger than a hole, smaller than the background
Move = Callable[[int, int, Array], Array | None]
"""``move(a, b, yx)``: where the places (P, 2) of frame a are in frame b, px; None if it fails."""
_UPSAMPLE = 50
_Spectrum = NDArray[np.complexfloating]


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerStart:
    """Places of P particles at the start, so that peers are compared on registration only.

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
    """Places of the particles according to a peer.

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


# Frames as libraries want them: no NaN, no wild contrast, no rim.


def filled(stack: Stack) -> tuple[Stack, NDArray[np.bool_]]:
    """Replace NaN by the local median, which is what surrounds it and casts no edge of its own.

    Medians of blocks of 16 px, those of blocks without a valid pixel taken from the nearest one,
    are interpolated linearly at the invalid pixels.

    Parameters
    ----------
    stack : (F, H, W) float32, NaN where invalid.

    Returns
    -------
    stack : (F, H, W) float32, finite; 0 in a frame without any valid pixel.
    usable : (F,) bool, the frame has valid pixels.
    """
    finite = np.isfinite(stack)
    usable = np.asarray(finite.any(axis=(1, 2)))
    out = np.where(finite, stack, np.float32(0))
    for k in np.flatnonzero(usable & ~finite.all(axis=(1, 2))):
        bad = np.nonzero(~finite[k])
        places = [(axis + 0.5) / _BLOCK - 0.5 for axis in bad]
        medians = _block_medians(np.where(finite[k], stack[k], np.nan))
        out[k][bad] = map_coordinates(medians, places, order=1, mode="nearest")
    return out, usable


def _block_medians(image: Stack) -> Array:
    high, wide = (-(-size // _BLOCK) for size in image.shape)
    rim = [(0, high * _BLOCK - image.shape[0]), (0, wide * _BLOCK - image.shape[1])]
    blocks = np.pad(image, rim, constant_values=np.nan).reshape(high, _BLOCK, wide, _BLOCK)
    blocks = blocks.swapaxes(1, 2).reshape(high, wide, -1)
    empty = np.isnan(blocks).all(axis=2)
    medians = np.zeros((high, wide))
    medians[~empty] = np.nanmedian(blocks[~empty], axis=1)
    rows, columns = np.asarray(
        distance_transform_edt(empty, return_distances=False, return_indices=True)
    )
    return medians[rows, columns]


def standardised(stack: Stack) -> Stack:
    """Give every frame (F, H, W) the same median and spread: 0 and 1 from its 2 % to 98 % level.

    Methods that compare intensities would otherwise see the absorption edge as motion.
    """
    low, middle, high = np.percentile(stack, [2, 50, 98], axis=(1, 2))[:, :, None, None]
    spread = np.where(high > low, high - low, 1.0)
    return ((stack - middle) / spread).astype(np.float32)


def windowed(stack: Stack, share: float) -> Stack:
    """Subtract the mean of each frame (F, H, W) and taper its rim, so that no edge wraps around.

    Parameters
    ----------
    share : tapered share of each side (Tukey window).
    """
    height, width = stack.shape[1:]
    window = np.outer(tukey(height, share), tukey(width, share)).astype(np.float32)
    mean = (stack * window).sum(axis=(1, 2), keepdims=True) / window.sum()
    return (stack - mean) * window


# From motion between two frames to positions in all of them.

Chain = Callable[[Move, NDArray[np.bool_], PeerStart], Array]


def against_first(move: Move, usable: NDArray[np.bool_], start: PeerStart) -> Array:
    """Move the start from the reference frame to each frame.

    Parameters
    ----------
    move : see :data:`Move`.
    usable : (F,) bool, frames that can be registered at all.
    start : the particles.

    Returns
    -------
    (F, P, 2) px; NaN in frames that are not usable or where `move` failed.
    """
    yx = _nowhere(usable, start)
    for k in np.flatnonzero(usable):
        moved = move(start.frame0, int(k), start.yx) if k != start.frame0 else None
        if moved is not None:
            yx[k] = moved
    return yx


def against_previous(move: Move, usable: NDArray[np.bool_], start: PeerStart) -> Array:
    """Move the start from frame to frame, forward and back from the reference frame.

    A frame that is not usable, or where `move` fails, is NaN and left out of the chain.
    Parameters and result as of :func:`against_first`.
    """
    yx = _nowhere(usable, start)
    frames = np.flatnonzero(usable)
    for order in (frames[frames > start.frame0], frames[frames < start.frame0][::-1]):
        last = start.frame0
        for k in map(int, order):
            moved = move(last, k, yx[last])
            if moved is not None:
                yx[k], last = moved, k
    return yx


def _nowhere(usable: NDArray[np.bool_], start: PeerStart) -> Array:
    yx = np.full((len(usable), *start.yx.shape), np.nan)
    yx[start.frame0] = start.yx
    return yx


# The one correlation that several peers share.


def motion(reference: _Spectrum, frame: _Spectrum, *, whiten: bool) -> Array:
    """Measure the motion (2,) px, to 1/50, from one image to another, both given by their FFT.

    Peak of the correlation, refined by a matrix DFT: Guizar-Sicairos et al. 2008, Opt. Lett. 33,
    156, doi:10.1364/OL.33.000156; scikit-image.

    Parameters
    ----------
    reference, frame : (H, W), from `numpy.fft.fft2`.
    whiten : phase correlation (Kuglin and Hines 1975), else plain cross-correlation.
    """
    back, _, _ = phase_cross_correlation(
        reference,
        frame,
        space="fourier",
        upsample_factor=_UPSAMPLE,
        # None is documented; the type is guessed from the default
        normalization="phase" if whiten else None,  # pyright: ignore[reportArgumentType]
    )
    return -np.asarray(back, dtype=np.float64)
