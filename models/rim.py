"""Position of a particle from its rim: Gauss-Newton against a template, blind to chemistry.

The image around the rim is modelled as (gain + a gain that varies linearly across the particle)
times the template, moved, plus a plane. The varying gain takes up an off-centre chemistry and the
plane the background; what is left tells the place. In the manner of inverse-compositional
registration (Baker and Matthews 2004, doi 10.1023/B:VISI.0000011205.11775.fd) with a free gain and
offset, as in digital image correlation (ZNSSD).

A template is noisy itself. Regression on noisy variables answers too little, by as much as the
noise has power: gains come out low and steps short. Blurring the template cures that, but a blurred
template is not what the image shows. Hence both: the sharp template is the model, and the blurred
one the instrument with which it is solved (instrumental variables; Reiersol 1941, doi
10.2307/1907009): their noises have little in common, and what they show has all.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt, gaussian_filter
from torch import Tensor

from .arrays import Image, Mask

Sampler = Callable[[Tensor], Tensor]
_FEW = 4  # one point in so many finds the neighbourhood, all of them the place; by eye

# thinning, rounds, px that the next step would be; by eye
_STAGES = ((_FEW, 10, 0.05), (1, 8, 2e-3))
_SETTLED = 0.05  # px, last step of a fit that is believed; by eye
_STEP = 1.5  # px, longest step: about the width of a rim, over which images are linear; by eye
_RELAX = (0.25, 2.5)  # bounds of the relaxation; by eye
_HUBER = 2.0  # standard deviations from which a pixel counts less; by eye

# prior of how much the gain varies over a radius, in units of itself: hardly any; by eye
_GAIN_GRADIENT = 1.0
_UNKNOWNS = 8
_KEPT = 4  # sets of rims: of two branches, each with those that are sought again


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Rim:
    """Pixels about the rim of a template, any leading share of them spread over all of it.

    Attributes
    ----------
    points : (M, 2) float32, px from the centre of the particle.
    value : (M,) float32, optical density. slope : (M, 2) float32, its gradient, OD/px.
    clean_value, clean_slope : the same of the blurred template.
    radius : px, of the circle of equal area.
    """

    points: Image
    value: Image
    slope: Image
    clean_value: Image
    clean_slope: Image
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
    gain_gradient : (N,) by how much the gain varies over a radius, relative to itself.
    """

    yx: NDArray[np.float64]
    gain: NDArray[np.float64]
    covariance: NDArray[np.float64]
    gain_sigma: NDArray[np.float64]
    rms: NDArray[np.float64]
    share: NDArray[np.float64]
    settled: NDArray[np.bool_]
    gain_gradient: NDArray[np.float64]


def make_rim(
    image: Image,
    inside: Mask,
    usable: Mask,
    *,
    within: float,
    beyond: float,
    smooth: float = 0.0,
    most: int = 16384,
) -> Rim | None:
    """Take the rim of a template; None if there are too few pixels.

    Parameters
    ----------
    image : (S, S) float32, optical density, the particle centred at (S - 1) / 2.
    inside : (S, S) bool, the particle. usable : (S, S) bool.
    within, beyond : how far the band reaches inwards and outwards, px.
    smooth : sigma by which the template is blurred where its noise would count, px.
    most : pixels to use at most; larger bands are thinned out evenly.
    """
    known = usable & np.isfinite(image)
    inner, outer = (np.asarray(distance_transform_edt(part)) for part in (inside, ~inside))
    band = np.zeros_like(known)
    # the gradient needs both neighbours
    band[1:-1, 1:-1] = known[:-2, 1:-1] & known[2:, 1:-1] & known[1:-1, :-2] & known[1:-1, 2:]
    band &= known & (inner <= within) & (outer <= beyond)
    chosen = np.argwhere(band)
    if len(chosen) < 4 * _UNKNOWNS:
        return None
    chosen = chosen[:: -(-len(chosen) // most)]
    chosen = np.concatenate([chosen[n::_FEW] for n in range(_FEW)])
    row, column = chosen.T
    sharp = clean = np.where(known, image, 0).astype(np.float32)
    if smooth > 0:
        weight = np.maximum(gaussian_filter(known.astype(np.float32), smooth), 1e-3)
        clean = (gaussian_filter(sharp, smooth) / weight).astype(np.float32)
    slope, clean_slope = (
        np.stack((np.gradient(i, axis=0), np.gradient(i, axis=1)), axis=-1) for i in (sharp, clean)
    )
    return Rim(
        points=(chosen - (image.shape[0] - 1) / 2).astype(np.float32),
        value=sharp[row, column],
        slope=slope[row, column].astype(np.float32),
        clean_value=clean[row, column],
        clean_slope=clean_slope[row, column].astype(np.float32),
        radius=float(np.sqrt(max(np.count_nonzero(inside), 1.0) / np.pi)),
    )


@dataclass(frozen=True, slots=True)
class RimStack:
    """Rims side by side: points (N, 2, M), model and instrument (N, 8, M), absent (N, M)."""

    points: Tensor
    model: Tensor
    instrument: Tensor
    absent: Tensor


class RimStacks:
    """Stacks of the last few sets of rims; mostly, the rims are those of the frame before.

    They live as long as this object, or until `clear`.

    Parameters
    ----------
    device : where they lie.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self._kept: dict[tuple[Rim, ...], RimStack] = {}

    def of(self, rims: tuple[Rim, ...]) -> RimStack:
        """Return the stack of these rims, made if it is not known."""
        stack = self._kept.pop(rims, None) or stack_rims(rims, self.device)
        self._kept[rims] = stack
        if len(self._kept) > _KEPT:
            del self._kept[next(iter(self._kept))]
        return stack

    def clear(self) -> None:
        """Free all of them."""
        self._kept.clear()


def stack_rims(rims: Sequence[Rim], device: torch.device) -> RimStack:
    """Put rims side by side, the shorter ones padded with points that are not present."""
    count, longest = len(rims), max(len(rim.value) for rim in rims)
    points = np.zeros((count, 2, longest), np.float32)
    model, instrument = (np.zeros((count, 8, longest), np.float32) for _ in range(2))
    absent = np.ones((count, longest), bool)
    for n, rim in enumerate(rims):
        m = len(rim.value)
        points[n, :, :m], absent[n, :m] = rim.points.T, False
        u = rim.points.T / np.float32(rim.radius)
        level = rim.clean_value.mean()
        for rows, value, slope in (
            (model[n, :, :m], rim.value, rim.slope),
            (instrument[n, :, :m], rim.clean_value, rim.clean_slope),
        ):
            # template, its variation over the particle, plane, and motion
            rows[0], rows[3], rows[4:6] = value - level, 1, u
            np.multiply(rows[0], u, out=rows[1:3])
            np.negative(slope.T, out=rows[6:])
    return RimStack(*(torch.from_numpy(a).to(device) for a in (points, model, instrument, absent)))


@dataclass(frozen=True, slots=True)
class _Solved:
    """One linear solution.

    Attributes
    ----------
    solution : (N, 8) float64. ridge : (N, 8) float64, what was added to the normal equations.
    noise : (N,) float64, mean square error per degree of freedom, OD^2.
    weight : (N, M), what was used. error : (N, M), OD.
    """

    solution: Tensor
    ridge: Tensor
    noise: Tensor
    weight: Tensor
    error: Tensor


@dataclass(frozen=True, slots=True)
class _Relaxation:
    """Aitken's relaxation of the steps (Irons and Tuck 1969, doi 10.1002/nme.1620010306).

    Where the image is sharper or softer than the template, steps are too long or too short by a
    factor that two of them tell.

    Attributes
    ----------
    step : (N, 2) px, the last. factor : (N, 1), it was taken that often. fresh : (N, 1), it says
        nothing of the next.
    """

    step: Tensor
    factor: Tensor
    fresh: Tensor

    def next(self, solution: Tensor) -> tuple[_Relaxation, Tensor]:
        """Return what to remember, and by how much (N, 2) to move, after a solution (N, 8)."""
        gain = solution[:, :1]
        step = solution[:, 6:] / torch.where(gain.abs() < 1e-3, 1e-3, gain)
        step = torch.nan_to_num(step, posinf=0.0, neginf=0.0)
        change = step - self.step
        power = (change**2).sum(1, keepdim=True).clamp(min=1e-12)
        factor = -self.factor * (self.step * change).sum(1, keepdim=True) / power
        factor = torch.where(self.fresh, 1.0, factor.clamp(*_RELAX))
        move = factor * step
        length = torch.linalg.vector_norm(move, dim=1, keepdim=True)
        return _Relaxation(step, factor, length > _STEP), move * (_STEP / length.clamp(min=_STEP))


def fit_rims(
    rims: RimStack,
    start: NDArray[np.float64],
    sample: Sampler,
    gain_gradient: float = _GAIN_GRADIENT,
) -> RimFit:
    """Fit all rims at once.

    Parameters
    ----------
    rims : N templates.
    start : (N, 2) float64, where to begin, px.
    sample : gives the image at places (N, m, 2) float32, px, as (N, m), NaN where unusable; the
        places are those of the first m points of every rim, which are whole pixels apart.
    gain_gradient : prior of the variation of the gain over a radius, relative to the gain; 0 for
        none.
    """
    place = torch.from_numpy(start).to(rims.points.device)
    one = torch.ones_like(place[:, :1])
    relax = _Relaxation(torch.zeros_like(place), one, one.bool())
    part, solved = rims, None
    for thinning, rounds, enough in _STAGES:
        size = -(-rims.absent.shape[1] // thinning)
        model, instrument = (r[..., :size].contiguous() for r in (rims.model, rims.instrument))
        part = RimStack(rims.points[..., :size], model, instrument, rims.absent[:, :size])
        weight, before = None, torch.inf
        for _ in range(rounds):
            image = sample((place.float()[:, :, None] + part.points).transpose(1, 2))
            solved = _solve(part, image, weight, solved, gain_gradient)
            # Huber's weights, for what is far from the model
            far = solved.error.abs().clamp_(min=1e-9)
            limit = _HUBER * solved.noise.sqrt()[:, None].float()
            weight = torch.div(limit, far, out=far).clamp_(max=1)
            relax, move = relax.next(solved.solution)
            place = place + move
            now = float(relax.step.abs().max())
            # what the next step would be, as this one is to the last
            if now * (now / before if now < before < torch.inf else 1.0) < enough:
                break
            before = now
    if solved is None:
        raise ValueError("rims: no stage of the fit")
    return _result(part, solved, place, relax.step)


def _solve(
    part: RimStack,
    image: Tensor,
    weight: Tensor | None,
    before: _Solved | None,
    gain_gradient: float,
) -> _Solved:
    missing = image.isnan().logical_or_(part.absent)
    weight = torch.ones_like(image) if weight is None else weight
    weight = weight.masked_fill(missing, 0.0)
    image = image.masked_fill(missing, 0.0)
    # about their mean: a background as high as the rims would drown them in single precision
    total = weight.sum(1, keepdim=True)
    image = image.sub_(torch.linalg.vecdot(image, weight)[:, None] / total.clamp(min=1))
    weighted = part.instrument * weight[:, None]
    matrix = (weighted @ part.model.transpose(1, 2)).double()
    right = (image[:, None] @ weighted.transpose(1, 2)).double().transpose(1, 2)
    ridge = 1e-9 * matrix.diagonal(dim1=1, dim2=2).abs().clamp(min=1e-12)
    if before is not None:
        known = before.noise / ((gain_gradient * before.solution[:, 0]) ** 2 + 1e-12)
        ridge[:, 1:3] += known[:, None]
    matrix = matrix + torch.diag_embed(ridge)
    solution = torch.linalg.solve(matrix, right)[..., 0]
    error = torch.baddbmm(image[:, None], solution.float()[:, None], part.model, alpha=-1)[:, 0]
    power = torch.linalg.vecdot(error * weight, error)
    noise = (power / (total[:, 0] - _UNKNOWNS).clamp(min=1)).double().clamp(min=1e-10)
    return _Solved(solution, ridge, noise, weight, error)


def _result(part: RimStack, solved: _Solved, place: Tensor, step: Tensor) -> RimFit:
    gain = solved.solution[:, 0]
    # of the blurred template alone: the noise of the sharp one would pass for a rim
    weighted = part.instrument * solved.weight[:, None]
    power = (weighted @ part.instrument.transpose(1, 2)).double() + torch.diag_embed(solved.ridge)
    covariance = torch.linalg.inv(power) * solved.noise[:, None, None]
    usable = (solved.weight > 0).sum(1) / part.absent.logical_not().sum(1)
    gradient = torch.linalg.vector_norm(solved.solution[:, 1:3], dim=1)
    return RimFit(
        yx=place.cpu().numpy(),
        gain=gain.cpu().numpy(),
        covariance=(covariance[:, 6:, 6:] / (gain**2)[:, None, None]).cpu().numpy(),
        gain_sigma=covariance[:, 0, 0].sqrt().cpu().numpy(),
        rms=solved.noise.sqrt().cpu().numpy(),
        share=usable.double().cpu().numpy(),
        settled=(step.abs().amax(1) < _SETTLED).cpu().numpy(),
        gain_gradient=(gradient / gain.abs()).cpu().numpy(),
    )


def kernel(rim: Rim, keep: slice) -> NDArray[np.float64]:
    """Return weights (2, m) that turn the image at a rim's points into its place, px at unit gain.

    They are those of the fit without robust weights; `keep` chooses the points.
    """
    design = stack_rims((rim,), torch.device("cpu")).instrument[0, :, keep].double()
    return torch.linalg.pinv(design.T)[6:].numpy()
