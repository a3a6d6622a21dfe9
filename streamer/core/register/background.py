"""Motion of the structured background between the particles.

The background (binder, carbon, electrolyte, the rest of the electrode) hardly changes its contrast
over the edge of the metal, so that it can say what drift is without the particles. It is followed
by the cross-correlation of what lies outside all masks with a running template of the aligned
background, around the motion that the particles expect, and then by Gauss-Newton to a fraction of
a pixel (Lucas and Kanade 1981, IJCAI, 674). A Gaussian band takes the place of whitening, which
would lock onto noise and onto what does not move, and the correlation that decides whether the
answer is believed is that over the pixels which both know (Padfield 2012, doi
10.1109/TIP.2011.2181402).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import fft
from scipy.ndimage import (
    affine_transform,
    gaussian_filter,
    maximum_filter,
    minimum_filter,
    shift,
    spline_filter,
)

from ....models.arrays import Array, Image, Mask

Spectrum = NDArray[np.complex64]

# by eye, but for those that say so

# band that counts: finer is noise, coarser is light that does not move with the electrode
_FINE_PX = 1.5
_COARSE_PX = 12.0
_SKIRT_PX = 6  # masks miss the faint skirts of particles
_MEMORY = 0.1  # weight of a frame in the template: ten frames
_MIN_PIXELS = 2000  # of background, in the frame and in the template
_STEPS = 6  # of Gauss-Newton at most
_DONE_PX = 0.01  # step at which it has converged
_WANDER_PX = 2.0  # farther than this Gauss-Newton has left the peak that it started from
_LEAST_GAIN = 0.1  # contrast against the template, below which steps are not scaled by it
_WHOLE = 0.999  # interpolated masks count where they are whole, but for rounding
_RING_PX = 3  # reach of the ringing of a cubic spline near what is not known
_NAN = float("nan")


@dataclass(frozen=True, slots=True, kw_only=True)
class BackgroundTemplate:
    """Running template of the background in the frame of the electrode.

    Attributes
    ----------
    image : (H, W) float32, band-passed optical density, 0 where unknown. weight : (H, W) float32
        in 0..1, how well a pixel is known.
    """

    image: Image
    weight: Image


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """Place of the background of a frame.

    Attributes
    ----------
    yx : (2,) float64, motion since the first frame, px. sigma : (2,) float64, standard error, px.
    peak : correlation with the template, NaN without one.
    reason : why the background cannot say; "" if it can.
    """

    yx: Array
    sigma: Array
    peak: float
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class BackgroundView:
    """The background of one frame.

    Attributes
    ----------
    image : (H, W) float32, band-passed optical density, 0 where `weight` is.
    weight : (H, W) float32, 1 for background and 0 for all else.
    """

    image: Image
    weight: Image


def picture(od: Image, valid: Mask, labels: NDArray[np.int32]) -> BackgroundView:
    """Band-pass what lies outside all particles.

    Parameters
    ----------
    od : (H, W) float32, optical density. valid : (H, W) bool.
    labels : (H, W) int32, masks of the particles, 0 is background.
    """
    taken = ((labels > 0) | ~valid).astype(np.uint8)
    # the rim of the frame has one-sided neighbours, as the rim of a particle has
    size = 2 * _SKIRT_PX + 1
    weight = 1.0 - np.asarray(maximum_filter(taken, size, mode="constant", cval=1), np.float32)
    fine, coarse = (_smooth(od, weight, width) for width in (_FINE_PX, _COARSE_PX))
    return BackgroundView(image=np.asarray((fine - coarse) * weight, np.float32), weight=weight)


def at_reference(
    seen: BackgroundView, scale: float, axis_yx: tuple[float, float]
) -> BackgroundView:
    """Resample a picture whose magnification is `scale` about `axis_yx`, px, to that of 1."""
    if scale == 1.0:
        return seen
    matrix = np.array([[scale, 0, axis_yx[0] * (1 - scale)], [0, scale, axis_yx[1] * (1 - scale)]])
    weight = affine_transform(seen.weight, matrix, order=1, prefilter=False)
    weight = np.asarray(weight > _WHOLE, np.float32)
    image = np.asarray(affine_transform(seen.image, matrix, order=3), np.float32)
    return BackgroundView(image=image * weight, weight=weight)


def find(
    template: BackgroundTemplate | None,
    seen: BackgroundView,
    expected: Array,
    reach: float,
    least: float,
) -> Found:
    """Find the background, sought around a motion that is expected.

    Parameters
    ----------
    template : what earlier frames have shown, None before the first.
    seen : background of this frame. expected : (2,) px.
    reach : largest distance from `expected`, px.
    least : correlation below which the answer is not believed.
    """
    if template is None or template.image.shape != seen.image.shape:
        return _refuse(expected, "no_template")
    if min(seen.weight.sum(), (template.weight > 0).sum()) < _MIN_PIXELS:
        return _refuse(expected, "no_background")
    start = _nearest(template, seen, np.round(expected), int(np.ceil(reach)))
    yx, sigma, peak = _refine(template, seen, start)
    if not peak >= least:
        return _refuse(expected, "poor_peak", peak)
    if np.hypot(*(yx - start)) > _WANDER_PX or np.hypot(*(yx - expected)) > reach:
        return _refuse(expected, "no_peak", peak)
    return Found(yx=yx, sigma=sigma, peak=peak, reason="")


def absorb(
    template: BackgroundTemplate | None, seen: BackgroundView, drift: Array
) -> BackgroundTemplate:
    """Let the template learn the background of a frame whose drift (2,), px, is known."""
    if template is None or template.image.shape != seen.image.shape:
        template = BackgroundTemplate(
            image=np.zeros_like(seen.image), weight=np.zeros_like(seen.weight)
        )
    known = np.clip(shift(seen.weight, -drift, order=1, prefilter=False), 0, 1)
    known[known < _WHOLE] = 0.0
    image = shift(seen.image, -drift, order=3) * known
    # a mean at first, an exponential memory later: what deforms slowly is followed
    share = known * np.maximum(_MEMORY, 1.0 / (1.0 + template.weight / _MEMORY))
    weight = np.minimum(template.weight + _MEMORY * known, 1.0)
    return BackgroundTemplate(
        image=((1 - share) * template.image + share * image).astype(np.float32),
        weight=weight.astype(np.float32),
    )


def _refuse(expected: Array, reason: str, peak: float = _NAN) -> Found:
    return Found(yx=expected, sigma=np.full(2, np.nan), peak=peak, reason=reason)


def _smooth(od: Image, weight: Image, width: float) -> Image:
    total = gaussian_filter(weight, width, truncate=3)
    mean = gaussian_filter(od * weight, width, truncate=3) / np.maximum(total, 1e-3)
    return np.asarray(mean, np.float32)


def _nearest(
    template: BackgroundTemplate, seen: BackgroundView, middle: Array, reach: int
) -> Array:
    """Find the whole-pixel shift of the highest cross-correlation within `reach` of `middle`.

    Both images are 0 where they are not known and 0 on average, so that holes have no say.
    """
    pad = int(np.abs(middle).max()) + reach + 1
    size = [int(fft.next_fast_len(n + pad, real=True) or 0) for n in seen.image.shape]
    spectrum = np.asarray(fft.rfft2(seen.image, size))
    spectrum = spectrum * np.conj(np.asarray(fft.rfft2(template.image, size)))
    product = np.asarray(fft.irfft2(spectrum, size))
    step = np.arange(-reach, reach + 1)
    rows, columns = (np.array(middle[i] + step, dtype=np.int64) % size[i] for i in (0, 1))
    near = product[np.ix_(rows, columns)]
    best = np.unravel_index(int(near.argmax()), near.shape)
    return middle + step[list(best)]


def _refine(
    template: BackgroundTemplate, seen: BackgroundView, start: Array
) -> tuple[Array, Array, float]:
    """Run Gauss-Newton with a free gain: place, its error, and the correlation over shared pixels.

    The error is that of the residual, whose grain is that of the band.
    """
    yx = start.astype(np.float64)
    spline = np.asarray(spline_filter(template.image, order=3))
    # interpolation near what is not known would ring
    known = (template.weight > 0).astype(np.uint8)
    known = minimum_filter(known, size=2 * _RING_PX + 1, mode="constant", cval=0)
    inside = (shift(known, yx, order=0, prefilter=False) > 0) & (seen.weight > 0)
    target = seen.image[inside]
    covariance, peak = np.full((2, 2), np.nan), _NAN
    for _ in range(_STEPS):
        moved = np.asarray(shift(spline, yx, order=3, prefilter=False))
        slopes = (np.gradient(moved, axis=0), np.gradient(moved, axis=1))
        design = np.stack([moved[inside], *(slope[inside] for slope in slopes)], axis=1)
        normal = (design.T @ design).astype(np.float64)
        solution = np.linalg.lstsq(normal, design.T @ target, rcond=None)[0]
        left = float(((target - design @ solution) ** 2).sum())
        gain = solution[0] if solution[0] > _LEAST_GAIN else 1.0
        step = np.clip(-solution[1:] / gain, -1.0, 1.0)
        yx = yx + step
        # noise smoothed by a Gaussian of width w counts once in 4 pi w^2 pixels
        noise = left / max(len(target), 1) * 4 * np.pi * _FINE_PX**2
        covariance = np.linalg.pinv(normal)[1:, 1:] * noise / gain**2
        power = float((target**2).sum())
        peak = max(1 - left / power, 0.0) ** 0.5 if solution[0] > 0 and power > 0 else 0.0
        if np.abs(step).max() < _DONE_PX:
            break
    return yx, np.sqrt(np.diag(covariance)), peak
