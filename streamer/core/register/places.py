"""Places of the particles of one frame: from the image, where masks only say roughly where.

The template of each particle is matched with the image near its mask, or near where it is expected;
where that cannot be, its place is the centre of mass of its mask, or the one that is expected.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from ....models.arrays import Array, Labels, Mask
from ....models.detector import Detections
from ....models.rim import Rim, RimStacks, fit_rims
from ....models.warp import point_sampler
from ..link import Observation
from .particle import PositionMeasurement
from .settings import RegisterSettings
from .templates import Template, TemplateSet

# by eye, but for those that say so

_COAST_STEP_PX = 0.5  # error of an expected place after one unseen frame, growing as a walk does
_REACH_PX = 4.0  # how far a place may be from where it is sought
_REACH_SHARE = 0.2  # the same in radii of its mask
_REACH_PER_MISS_PX = 1.5  # and what is added for each unseen frame
_ASTRAY_PX = 2.0  # distance from where the field has carried a particle at which it is sought again
_KNOWN_FRAMES = 4  # a template finds the cloud of which it was made for ever
_LIKE = 1.8  # by how much the contrast may change while a particle is not detected
_AROUND = 3  # px, kept from other particles
_SHARE = 0.35  # of a rim that must be seen
_SURE = 6.0  # standard errors of the contrast of what is found
_CORRELATED = 1.15  # noise of neighbouring pixels is not independent after resampling
_MASK_OVER_BOUND = 1.4  # error of half-maximum masks over the Cramer-Rao bound, see `mask_sigma`
_CUT_PX = 2.0  # error of the centre of mass of a mask that is cut
_SHAPE = 0.005  # of the radius, see `mask_sigma`


@dataclass(frozen=True, slots=True, kw_only=True)
class FitRequest:
    """One particle that is sought.

    Attributes
    ----------
    template : of it. start : (2,) px, where to begin. reach : px, how far from there it may be.
    label : of its own mask in the frame, 0 if it has none.
    """

    particle: int
    template: Template
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
    gain_gradient : by how much the contrast varies over a radius, relative to itself.
    """

    yx: Array
    sigma: Array
    gain: float
    rms: float
    gain_gradient: float


@dataclass(frozen=True, slots=True, kw_only=True)
class PriorKnowledge:
    """Particles as they are known before a frame.

    Attributes
    ----------
    templates : of each.
    misses : frames for which those that coast have not been seen, this frame included.
    whole : particles that have been seen whole.
    last : (2,) px, where each was in the frame before.
    """

    templates: Mapping[int, TemplateSet]
    misses: Mapping[int, int]
    whole: frozenset[int]
    last: Mapping[int, Array]


def find_places(
    image: Tensor,
    noise: float,
    detections: Detections,
    alive: list[Observation],
    known: PriorKnowledge,
    settings: RegisterSettings,
    stacks: RimStacks,
) -> tuple[PositionMeasurement, ...]:
    """Match each particle's template near its mask, or near where it is expected.

    Parameters
    ----------
    image : (1, 1, H, W) float32, NaN where invalid. noise : rms of it, OD.
    alive : particles that are seen or coast.
    stacks : keeps the tensors of rims from frame to frame.
    """
    sigma = mask_sigma(
        detections.area, detections.contrast, detections.cut, noise=noise, psf=settings.psf_px
    )
    fits: dict[int, TemplateFit] = {}
    if settings.refine:
        requests = [_request(o, detections, known) for o in alive if o.particle in known.templates]
        fits = _refine_twice(image, detections.labels, requests, known.last, stacks)
        fits = {p: fit for p, fit in fits.items() if _plausible(p, fit, known)}
    return tuple(_measure(o, fits.get(o.particle), detections, sigma, known) for o in alive)


def _refine_twice(
    image: Tensor,
    labels: Labels,
    requests: list[FitRequest],
    last: Mapping[int, Array],
    stacks: RimStacks,
) -> dict[int, TemplateFit]:
    """Start at the masks; where that leads astray, where the field has carried the particle.

    Masks of faint or touching particles may be off by more than a fit can make good.
    """
    first = refine(image, labels, requests, stacks)
    moved = [first[p].yx - last[p] for p in first if p in last]
    if not moved:
        return first
    shift = np.median(moved, axis=0)
    again = []
    for request in requests:
        if request.particle not in last:
            continue
        expected = last[request.particle] + shift
        found = first.get(request.particle)
        if found is None or np.hypot(*(found.yx - expected)) > _ASTRAY_PX:
            again.append(replace(request, start=expected, reach=_REACH_PX))
    second = refine(image, labels, again, stacks)
    better = {
        p: r
        for p, r in second.items()
        if p not in first or r.rms * first[p].gain < first[p].rms * r.gain
    }
    return {**first, **better}


def _request(seen: Observation, detections: Detections, known: PriorKnowledge) -> FitRequest:
    row = seen.detection
    reach = _REACH_PX
    if row < 0:
        reach += _REACH_PER_MISS_PX * known.misses[seen.particle]
    else:
        radius = float(np.sqrt(detections.area[row] / np.pi))
        # a share of a mask, or what is left of one, says less
        loose = detections.cut[row] or seen.divided
        reach = max(_REACH_PX, _REACH_SHARE * radius) * (2.0 if loose else 1.0)
    return FitRequest(
        particle=seen.particle,
        template=known.templates[seen.particle].current,
        start=seen.yx,
        reach=reach,
        label=row + 1,
    )


def _plausible(particle: int, found: TemplateFit, known: PriorKnowledge) -> bool:
    """Tell whether what was found without a detection is a particle: known, of like contrast."""
    if particle not in known.misses:
        return True
    templates = known.templates[particle]
    if sum(template.frames for template in templates.templates) < _KNOWN_FRAMES:
        return False
    ratio = found.gain * templates.current.contrast / templates.contrast
    return 1 / _LIKE < ratio < _LIKE


def _measure(
    observed: Observation,
    fit: TemplateFit | None,
    detections: Detections,
    sigma: Array,
    known: PriorKnowledge,
) -> PositionMeasurement:
    row, particle = observed.detection, observed.particle
    seen = row >= 0
    cut = seen and bool(detections.cut[row])
    contrast = float("nan")
    if fit is None:
        yx = observed.yx
        error = np.full(2, sigma[row] if seen else _COAST_STEP_PX * known.misses[particle] ** 0.5)
    else:
        template = known.templates[particle].current
        contrast = fit.gain * template.contrast
        yx, error = fit.yx, fit.sigma
        if np.isfinite(template.response).all():
            error = np.hypot(error, template.response / fit.gain)
    return PositionMeasurement(
        particle=particle,
        yx=yx,
        sigma=error,
        seen=seen or fit is not None,
        # a template sees through a cut; what was never seen whole has no centre of mass yet
        cut=cut and (fit is None or particle not in known.whole),
        followed=fit is not None,
        row=row,
        mask_yx=detections.yx[row] if seen and not cut and not observed.divided else None,
        contrast=contrast,
    )


def refine(
    image: Tensor, labels: Labels, requests: Sequence[FitRequest], stacks: RimStacks
) -> dict[int, TemplateFit]:
    """Fit the rims of particles; those that cannot be fitted are left out.

    Parameters
    ----------
    image : (1, 1, H, W) float32, optical density, NaN where invalid.
    labels : (H, W) int32, masks of the frame; the masks of others are kept away from.
    stacks : keeps the tensors of the rims.
    """
    able = [(r, r.template.rim) for r in requests if r.template.rim is not None]
    if not able:
        return {}
    chosen, rims = [request for request, _ in able], tuple(rim for _, rim in able)
    start = np.array([r.start for r in chosen], dtype=np.float64)
    blocked = _blocked(labels, chosen, rims).to(image.device)
    at = point_sampler(image, lattice=True)

    def sample(places: Tensor) -> Tensor:
        return at(places).masked_fill_(blocked[:, : places.shape[1]], torch.nan)

    fit = fit_rims(stacks.of(rims), start, sample)
    with np.errstate(invalid="ignore"):
        near = np.hypot(*(fit.yx - start).T) <= np.array([r.reach for r in chosen])
        sure = fit.gain > _SURE * fit.gain_sigma
        good = near & sure & fit.settled & (fit.share >= _SHARE)
    sigma = _CORRELATED * np.sqrt(np.abs(np.diagonal(fit.covariance, axis1=1, axis2=2)))
    return {
        r.particle: TemplateFit(
            yx=fit.yx[i],
            sigma=sigma[i],
            gain=float(fit.gain[i]),
            rms=float(fit.rms[i]),
            gain_gradient=float(fit.gain_gradient[i]),
        )
        for i, r in enumerate(chosen)
        if good[i]
    }


def _blocked(labels: Labels, requests: list[FitRequest], rims: tuple[Rim, ...]) -> Tensor:
    """Find the points (N, M) on or next to the mask of another particle."""
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
            y, x = (at + margin - low).T
            width, flat = foreign.shape[1], foreign.ravel()
            steps = (0, _AROUND, -_AROUND, _AROUND * width, -_AROUND * width)
            near = [flat.take(y * width + x + step) for step in steps]
            row[: len(at)] = np.logical_or.reduce(near)
    return torch.from_numpy(blocked)


def mask_sigma(area: Array, contrast: Array, cut: Mask, *, noise: float, psf: float) -> Array:
    """Estimate the standard deviation of the centre of mass of a half-maximum mask.

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
