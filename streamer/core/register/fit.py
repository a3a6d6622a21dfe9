"""Places of particles from the image itself, where their masks only say roughly where to look."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ....models.arrays import Array, Labels
from ....models.rim import Rim, RimFit, fit_rims
from ....models.warp import point_sampler
from .templates import Template

_AROUND = 3  # px, kept from other particles
_SHARE = 0.35
_SURE = 6.0
# noise of neighbouring pixels is not independent after resampling
_CORRELATED = 1.15
_MASK_OVER_BOUND = 1.4
_CUT_PX = 2.0
_SHAPE = 0.005


@dataclass(frozen=True, slots=True, kw_only=True)
class FitRequest:
    """One particle that is sought.

    Attributes
    ----------
    anchor : template. start : (2,) px, where to begin. reach : px, how far from there it may be.
    label : of its own mask in the frame, 0 if it has none.
    """

    particle: int
    anchor: Template
    start: Array
    reach: float
    label: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TemplateFit:
    """Place of one particle.

    Attributes
    ----------
    yx : (2,) float64, px. sigma : (2,) float64, px, of the noise only.
    gain : contrast against the template. rms : what the fit leaves, OD.
    tilt : by how much the contrast varies over a radius, relative to itself.
    """

    yx: Array
    sigma: Array
    gain: float
    rms: float
    tilt: float


def refine(image: Tensor, labels: Labels, requests: Sequence[FitRequest]) -> dict[int, TemplateFit]:
    """Fit the rims of particles; those that cannot be told are left out.

    Parameters
    ----------
    image : (1, 1, H, W) float32, optical density, NaN where invalid.
    labels : (H, W) int32, masks of the frame; the masks of others are kept away from.
    """
    able = [(r, r.anchor.rim) for r in requests if r.anchor.rim is not None]
    if not able:
        return {}
    rims = [rim for _, rim in able]
    chosen = [request for request, _ in able]
    start = np.array([r.start for r in chosen], dtype=np.float64)
    blocked = _blocked(labels, chosen, rims).to(image.device)

    look = point_sampler(image, lattice=True)

    def sample(places: Tensor) -> Tensor:
        return look(places).masked_fill_(blocked[:, : places.shape[1]], torch.nan)

    fit = fit_rims(rims, start, sample, image.device)
    good = _good(fit, start, np.array([r.reach for r in chosen]))
    sigma = _CORRELATED * np.sqrt(np.abs(np.diagonal(fit.covariance, axis1=1, axis2=2)))
    return {
        r.particle: TemplateFit(
            yx=fit.yx[i],
            sigma=sigma[i],
            gain=float(fit.gain[i]),
            rms=float(fit.rms[i]),
            tilt=float(fit.tilt[i]),
        )
        for i, r in enumerate(chosen)
        if good[i]
    }


def _good(fit: RimFit, start: Array, reach: Array) -> NDArray[np.bool_]:
    with np.errstate(invalid="ignore"):
        near = np.hypot(*(fit.yx - start).T) <= reach
        sure = fit.gain > _SURE * fit.gain_sigma
        return near & sure & fit.settled & (fit.share >= _SHARE)


def _blocked(labels: Labels, requests: list[FitRequest], rims: list[Rim]) -> Tensor:
    """Points (N, M) on or next to the mask of another particle."""
    blocked = np.zeros((len(rims), max(len(rim.value) for rim in rims)), bool)
    margin = _AROUND + 1
    framed = np.zeros(np.add(labels.shape, 2 * margin), labels.dtype)
    framed[margin:-margin, margin:-margin] = labels
    last = np.array(labels.shape) - 1
    for row, request, rim in zip(blocked, requests, rims, strict=True):
        # a mask that holds our centre holds us: merged with a neighbour, or taken for another's
        middle = np.clip(np.rint(request.start), 0, last).astype(int)
        under = int(labels[tuple(middle)])
        reach = np.abs(rim.points).max(axis=0) + margin
        low = np.clip(np.floor(request.start - reach), -margin, last).astype(int) + margin
        high = np.clip(np.ceil(request.start + reach), 0, last + margin).astype(int) + margin + 1
        window = framed[low[0] : high[0], low[1] : high[1]]
        foreign = (window != 0) & (window != request.label) & (window != under)
        if foreign.any():
            at = np.clip(np.rint(rim.points + request.start), -1, last + 1).astype(np.intp)
            row[: len(at)] = _near(foreign, at + margin - low)
    return torch.from_numpy(blocked)


def _near(mask: NDArray[np.bool_], at: NDArray[np.intp]) -> NDArray[np.bool_]:
    """Whether points (M, 2) lie on a mask, or straight beside it."""
    width = mask.shape[1]
    first, flat = at[:, 0] * width + at[:, 1], mask.ravel()
    steps = (0, _AROUND, -_AROUND, _AROUND * width, -_AROUND * width)
    return np.logical_or.reduce([flat.take(first + step) for step in steps])


# How well a mask centre of mass can be known.


def mask_sigma(
    area: Array, contrast: Array, cut: NDArray[np.bool_], *, noise: float, psf: float
) -> Array:
    """Standard deviation of the centre of mass of a half-maximum mask.

    The Cramer-Rao bound of a disc of radius R and contrast a behind a Gaussian point spread of
    width w in white noise s is (s/a) sqrt(2 w / (sqrt(pi) R)); a half-maximum mask reaches 1.4
    times that. The slope of background and light across a particle, relative to its contrast,
    moves the contour of its gently sloping rim in proportion to its size: 0.5 % of the radius is
    added for that. Chemistry is not in it.

    Parameters
    ----------
    area : (N,) px^2. contrast : (N,) optical density. cut : (N,) bool, cut by the frame.
    noise : rms noise of the frame, optical density; NaN (unknown) counts as 0.05.
    psf : width w (sigma), px.

    Returns
    -------
    (N,) float64, px, per component.
    """
    noise = noise if np.isfinite(noise) else 0.05
    radius = np.sqrt(np.maximum(area, 1.0) / np.pi)
    bound = noise / np.maximum(contrast, 1e-2) * np.sqrt(2 * psf / (np.sqrt(np.pi) * radius))
    whole = np.hypot(_MASK_OVER_BOUND * bound, _SHAPE * radius)
    return np.hypot(whole, np.where(cut, _CUT_PX, 0.0))
