"""Motion of the structured background between the particles.

The background (binder, carbon, electrolyte, the rest of the electrode) hardly changes its contrast
over the edge of the metal, so that it can say what drift is without the particles. It is followed
by the normalised cross-correlation of what lies outside all masks (Padfield 2012, IEEE Trans.
Image Process. 21, 2706, doi 10.1109/TIP.2011.2181402) with a running template of the aligned
background, around the motion that the particles expect, and then by Gauss-Newton to a fraction of
a pixel (Lucas and Kanade 1981, with a Gaussian-weighted band in place of whitening).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import fft
from scipy.ndimage import binary_dilation, gaussian_filter, shift

Array = NDArray[np.float64]
Image = NDArray[np.float32]
Mask = NDArray[np.bool_]
Spectrum = NDArray[np.complex64]

# band that counts: finer is noise, coarser is light that does not move with the electrode
_FINE_PX = 1.5
_COARSE_PX = 12.0
# masks miss the faint skirts of particles
_SKIRT_PX = 6
_MEMORY = 0.1
_MIN_PIXELS = 2000
_STEPS = 4
_NAN = float("nan")


@dataclass(frozen=True, slots=True, kw_only=True)
class Background:
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
    """Where the background of a frame lies.

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
class Picture:
    """The background of one frame.

    Attributes
    ----------
    image : (H, W) float32, band-passed optical density, 0 where `weight` is.
    weight : (H, W) float32, 1 for background and 0 for all else.
    """

    image: Image
    weight: Image


def picture(od: Image, valid: Mask, labels: NDArray[np.int32]) -> Picture:
    """Band-pass what lies outside all particles.

    Parameters
    ----------
    od : (H, W) float32, optical density. valid : (H, W) bool.
    labels : (H, W) int32, masks of the particles, 0 is background.
    """
    taken = np.asarray(binary_dilation((labels > 0) | ~valid, iterations=_SKIRT_PX), np.bool_)
    weight = (~taken).astype(np.float32)
    fine, coarse = (_smooth(od, weight, width) for width in (_FINE_PX, _COARSE_PX))
    return Picture(image=(fine - coarse) * weight, weight=weight)


def find(
    template: Background | None, seen: Picture, expected: Array, reach: float, least: float
) -> Found:
    """Where the background lies, sought around a motion that is expected.

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
    start, peak = _correlate(template, seen, np.round(expected), reach)
    if peak < least:
        return _refuse(expected, "poor_peak", peak)
    yx, sigma = _refine(template, seen, start)
    if np.hypot(*(yx - start)) > 2.0 or np.hypot(*(yx - expected)) > reach:
        return _refuse(expected, "no_peak", peak)
    return Found(yx=yx, sigma=sigma, peak=peak, reason="")


def absorb(template: Background | None, seen: Picture, drift: Array) -> Background:
    """Let the template learn the background of a frame whose drift (2,), px, is known."""
    if template is None or template.image.shape != seen.image.shape:
        template = Background(image=np.zeros_like(seen.image), weight=np.zeros_like(seen.weight))
    known = np.clip(shift(seen.weight, -drift, order=1, prefilter=False), 0, 1)
    known[known < 0.999] = 0.0
    image = shift(seen.image, -drift, order=3) * known
    # a mean at first, an exponential memory later: what deforms slowly is followed
    share = known * np.maximum(_MEMORY, 1.0 / (1.0 + template.weight / _MEMORY))
    weight = np.minimum(template.weight + _MEMORY * known, 1.0)
    return Background(
        image=((1 - share) * template.image + share * image).astype(np.float32),
        weight=weight.astype(np.float32),
    )


def _refuse(expected: Array, reason: str, peak: float = _NAN) -> Found:
    return Found(yx=expected, sigma=np.full(2, np.nan), peak=peak, reason=reason)


def _smooth(od: Image, weight: Image, width: float) -> Image:
    total = gaussian_filter(weight, width)
    return np.asarray(gaussian_filter(od * weight, width) / np.maximum(total, 1e-3), np.float32)


def _correlate(
    template: Background, seen: Picture, middle: Array, reach: float
) -> tuple[Array, float]:
    """Best whole-pixel shift within `reach` of `middle`, and the correlation there."""
    far = int(np.ceil(reach))
    pad = int(np.abs(middle).max()) + far + 1
    size = [int(fft.next_fast_len(n + pad, real=True) or 0) for n in seen.image.shape]
    known = (template.weight > 0).astype(np.float32)
    a, am, aa = (_spectrum(x, size) for x in (seen.image, seen.weight, seen.image**2))
    b, bm, bb = (_spectrum(x, size) for x in (template.image, known, template.image**2))
    step = np.arange(-far, far + 1)
    rows, columns = (np.array(middle[i] + step, dtype=np.int64) % size[i] for i in (0, 1))

    def near(x: Spectrum, y: Spectrum) -> Array:
        back = np.asarray(fft.irfft2(x * np.conj(y), size))
        return back[np.ix_(rows, columns)].astype(np.float64)

    power = np.maximum(near(aa, bm), 0) * np.maximum(near(am, bb), 0)
    floor = 1e-3 * float(power.max()) + 1e-30
    peak = near(a, b) / np.sqrt(np.maximum(power, floor))
    best = np.unravel_index(int(peak.argmax()), peak.shape)
    return middle + step[list(best)], float(peak[best])


def _spectrum(image: Image, size: list[int]) -> Spectrum:
    return np.asarray(fft.rfft2(image, size))


def _refine(template: Background, seen: Picture, start: Array) -> tuple[Array, Array]:
    """Gauss-Newton with a free gain; the error is that of the residual, grained by the band."""
    yx = start.astype(np.float64)
    covariance = np.full((2, 2), np.nan)
    known = (template.weight > 0).astype(np.float32)
    for _ in range(_STEPS):
        moved = shift(template.image, yx, order=3)
        inside = (shift(known, yx, order=1, prefilter=False) > 0.999) & (seen.weight > 0)
        slope_y, slope_x = np.gradient(moved, axis=0), np.gradient(moved, axis=1)
        design = np.stack([moved[inside], slope_y[inside], slope_x[inside]], axis=1)
        target = seen.image[inside]
        normal = design.T.astype(np.float64) @ design
        solution = np.linalg.solve(normal, design.T @ target)
        residual = target - design @ solution
        gain = solution[0] if solution[0] > 0.1 else 1.0
        step = -solution[1:] / gain
        yx = yx + np.clip(step, -1.0, 1.0)
        # noise smoothed by a Gaussian of width w counts once in 4 pi w^2 pixels
        noise = float(residual @ residual) / len(target) * 4 * np.pi * _FINE_PX**2
        covariance = np.linalg.inv(normal)[1:, 1:] * noise / gain**2
        if np.abs(step).max() < 5e-3:
            break
    return yx, np.sqrt(np.diag(covariance))
