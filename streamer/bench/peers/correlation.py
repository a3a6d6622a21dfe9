"""The one correlation that several peers share."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from skimage.registration import phase_cross_correlation

from ....models.arrays import Array

_UPSAMPLE = 50

_Spectrum = NDArray[np.complexfloating]


def motion(reference: _Spectrum, frame: _Spectrum, *, whiten: bool) -> Array:
    """Motion (2,) px, to 1/50, from one image to another, both given by their FFT.

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
