"""Where a particle is, from its rim: Gauss-Newton against a template, blind to chemistry.

The image around the rim is modelled as (gain + a gain that varies linearly across the particle)
times the template, moved, plus a plane. The varying gain takes up an off-centre chemistry and the
plane the background; what is left tells the place. In the manner of inverse-compositional
registration (Baker and Matthews 2004, doi 10.1023/B:VISI.0000011205.11775.fd) with a free gain and
offset, as in digital image correlation (ZNSSD).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt, gaussian_filter
from torch import Tensor

Image = NDArray[np.float32]
Mask = NDArray[np.bool_]
Sampler = Callable[[Tensor], Tensor]

_ROUNDS = 12
_DONE = 2e-3  # px
_STEP = 1.5  # px
_HUBER = 2.0
_TILT = 1.0  # how much the gain may vary over a radius, in units of itself
_UNKNOWNS = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Rim:
    """Pixels about the rim of a template.

    Attributes
    ----------
    points : (M, 2) float32, px from the centre of the particle.
    value : (M,) float32, optical density. slope : (M, 2) float32, its gradient, OD/px.
    weight : (M,) float32. radius : px, of the circle of equal area.
    """

    points: Image
    value: Image
    slope: Image
    weight: Image
    radius: float


@dataclass(frozen=True, slots=True, kw_only=True)
class RimFit:
    """Fit of N rims; what could not be fitted is NaN.

    Attributes
    ----------
    yx : (N, 2) float64, centres, px.
    gain : (N,) contrast against the template.
    covariance : (N, 2, 2) float64, px^2, from the normal equations and the noise seen in the fit.
    gain_sigma : (N,) standard error of the gain.
    rms : (N,) OD, noise seen in the fit.
    share : (N,) share of the rim that could be used. settled : (N,) bool.
    tilt : (N,) by how much the gain varies over a radius, relative to itself.
    """

    yx: NDArray[np.float64]
    gain: NDArray[np.float64]
    covariance: NDArray[np.float64]
    gain_sigma: NDArray[np.float64]
    rms: NDArray[np.float64]
    share: NDArray[np.float64]
    settled: NDArray[np.bool_]
    tilt: NDArray[np.float64]


def make_rim(
    image: Image,
    inside: Mask,
    usable: Mask,
    *,
    within: float,
    beyond: float,
    smooth: float = 0.0,
    most: int = 4096,
) -> Rim | None:
    """The rim of a template; None if there are too few pixels.

    Parameters
    ----------
    image : (S, S) float32, optical density, the particle centred at (S - 1) / 2.
    inside : (S, S) bool, the particle. usable : (S, S) bool.
    within, beyond : how far the band reaches inwards and outwards, px.
    smooth : sigma by which the template is blurred, px: the gradient of its noise would count as
        that of a rim, and hold every step back.
    most : pixels to use at most; larger bands are thinned out evenly.
    """
    area = float(np.count_nonzero(inside))
    known = usable & np.isfinite(image)
    inwards, outwards = (np.asarray(distance_transform_edt(side)) for side in (inside, ~inside))
    band = (inwards <= within) & (outwards <= beyond)
    # the gradient needs both neighbours
    band &= known & _shrink(known)
    chosen = np.argwhere(band)
    if len(chosen) < 4 * _UNKNOWNS:
        return None
    chosen = chosen[:: -(-len(chosen) // most)]
    row, column = chosen.T
    clean = _smoothed(image, known, smooth)
    slope = np.stack([np.gradient(clean, axis=0), np.gradient(clean, axis=1)], axis=-1)
    return Rim(
        points=(chosen - (image.shape[0] - 1) / 2).astype(np.float32),
        value=clean[row, column].astype(np.float32),
        slope=slope[row, column].astype(np.float32),
        weight=np.ones(len(chosen), np.float32),
        radius=float(np.sqrt(max(area, 1.0) / np.pi)),
    )


def _smoothed(image: Image, known: Mask, sigma: float) -> Image:
    filled = np.where(known, image, np.float32(0))
    if sigma <= 0:
        return filled
    weight = gaussian_filter(known.astype(np.float32), sigma)
    return (gaussian_filter(filled, sigma) / np.maximum(weight, 1e-3)).astype(np.float32)


def _shrink(known: Mask) -> Mask:
    out = np.zeros_like(known)
    out[1:-1, 1:-1] = known[:-2, 1:-1] & known[2:, 1:-1] & known[1:-1, :-2] & known[1:-1, 2:]
    return out


def fit_rims(
    rims: Sequence[Rim],
    start: NDArray[np.float64],
    sample: Sampler,
    device: torch.device,
    tilt: float = _TILT,
) -> RimFit:
    """Fit all rims at once.

    Parameters
    ----------
    rims : N templates.
    start : (N, 2) float64, where to begin, px.
    sample : gives the image at places (N, M, 2) float32, px, as (N, M), NaN where unusable.
    tilt : prior of the variation of the gain over a radius, relative to the gain; 0 for none.
    """
    design, points, weight = _stack(rims, device)
    ridge = torch.full((len(rims), _UNKNOWNS), 1e-9, dtype=torch.float64, device=device)
    place = torch.from_numpy(start).to(device)
    moved = torch.full((len(rims),), torch.inf, dtype=torch.float64, device=device)
    huber = torch.ones_like(weight)
    solution = normal = noise2 = torch.zeros(0)
    used = weight
    for turn in range(_ROUNDS):
        image = sample((place[:, None] + points).float())
        used = weight * torch.isfinite(image)
        image = torch.nan_to_num(image)
        weighted = design * (used * huber)[..., None]
        normal = (weighted.transpose(1, 2) @ design).double()
        right = (weighted.transpose(1, 2) @ image[..., None]).double()
        scale = normal.diagonal(dim1=1, dim2=2).clamp(min=1e-12)
        if turn == 0:
            ridge = 1e-9 * scale
        normal = normal + torch.diag_embed(ridge)
        solution = torch.linalg.solve(normal, right)[..., 0]
        error = image - (design @ solution.float()[..., None])[..., 0]
        noise2 = _power(error, used * huber)
        ridge = 1e-9 * scale
        ridge[:, 1:3] += (noise2 / ((tilt * solution[:, 0]) ** 2 + 1e-12))[:, None]
        huber = (_HUBER * noise2.sqrt()[:, None] / error.abs().clamp(min=1e-9)).clamp(max=1).float()
        gain = solution[:, :1]
        step = solution[:, 6:] / torch.where(gain.abs() < 1e-3, 1e-3, gain)
        step = torch.nan_to_num(step).clamp(-_STEP, _STEP)
        place = place + step
        moved = step.abs().amax(1)
        if turn > 1 and float(moved.max()) < _DONE:
            break
    inverse = torch.linalg.inv(normal)
    gain = solution[:, 0]
    covariance = inverse[:, 6:, 6:] * (noise2 / gain**2)[:, None, None]
    return RimFit(
        yx=_numpy(place),
        gain=_numpy(gain),
        covariance=_numpy(covariance),
        gain_sigma=_numpy((inverse[:, 0, 0] * noise2).sqrt()),
        rms=_numpy(noise2.sqrt()),
        share=_numpy(used.sum(1) / weight.sum(1)),
        settled=_numpy(moved < 0.05).astype(bool),
        tilt=_numpy(torch.linalg.vector_norm(solution[:, 1:3], dim=1) / gain.abs()),
    )


def kernel(rim: Rim, keep: slice) -> NDArray[np.float64]:
    """Weights (2, m) that turn the image at some of a rim's points into its place, px at unit gain.

    Of the fit without robust weights.
    """
    design = _design(rim)[keep].astype(np.float64)
    solved = np.linalg.pinv(design)
    return np.asarray(solved[6:], dtype=np.float64)


def _power(error: Tensor, weight: Tensor) -> Tensor:
    """Mean square error per degree of freedom, (N,) float64."""
    total = weight.sum(1)
    return ((error**2 * weight).sum(1) / (total - _UNKNOWNS).clamp(min=1)).double().clamp(min=1e-10)


def _design(rim: Rim) -> Image:
    """Columns (M, 8): template, its variation over the particle, plane, and motion."""
    u = rim.points / rim.radius
    value = rim.value[:, None]
    one = np.ones_like(value)
    return np.concatenate([value, value * u, one, u, -rim.slope], axis=1, dtype=np.float32)


def _stack(rims: Sequence[Rim], device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """Design (N, M, 8), points (N, M, 2) and weights (N, M), padded with weight 0."""
    longest = max(len(rim.value) for rim in rims)
    design = np.zeros((len(rims), longest, _UNKNOWNS), np.float32)
    points = np.zeros((len(rims), longest, 2), np.float32)
    weight = np.zeros((len(rims), longest), np.float32)
    for n, rim in enumerate(rims):
        m = len(rim.value)
        design[n, :m] = _design(rim)
        points[n, :m] = rim.points
        weight[n, :m] = rim.weight
    to = lambda x: torch.from_numpy(x).to(device)  # noqa: E731 - three at once
    return to(design), to(points), to(weight)


def _numpy(values: Tensor) -> NDArray[np.float64]:
    return values.detach().cpu().numpy()
