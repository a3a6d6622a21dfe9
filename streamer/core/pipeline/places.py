"""Places of the particles of one frame, with what is known of how each was found."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from ....models.arrays import Array
from ....models.detector import Detections
from ..link import Observation
from ..register.fit import FitRequest, TemplateFit, mask_sigma, refine
from ..register.motion import PositionMeasurement
from ..register.settings import RegisterSettings
from ..register.templates import TemplateSet

_COAST_STEP_PX = 0.5

_REACH_PX = 4.0

_REACH_SHARE = 0.2

_ASTRAY_PX = 2.0

_KNOWN_FRAMES = 4  # a template finds the cloud of which it was made for ever

_REACH_PER_MISS_PX = 1.5

_LIKE = 1.8  # by how much the contrast may change while a particle is not detected


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasuredPlace:
    """How one particle was found.

    Attributes
    ----------
    mask_yx : (2,) float64, centre of mass of its mask, px; None if there is none of the whole
        particle.
    contrast : relative to its first template; NaN if no template was matched.
    row : of its detection, -1 without.
    clean : its mask is its own and whole.
    """

    mask_yx: Array | None
    contrast: float
    row: int
    clean: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class PriorKnowledge:
    """What is known of the particles before a frame.

    Attributes
    ----------
    memories : what each looks like.
    misses : frames for which those that coast have not been seen, this frame included.
    anchored : particles that have been seen whole.
    last : (2,) px, where each was in the frame before.
    """

    memories: Mapping[int, TemplateSet]
    misses: Mapping[int, int]
    anchored: frozenset[int]
    last: Mapping[int, Array]


@dataclass(frozen=True, slots=True, kw_only=True)
class Places:
    """All particles of a frame that are seen or coast.

    Attributes
    ----------
    measured : what registration works with.
    found : how each was found, by particle.
    misses : frames for which particles have coasted, those that coast.
    confirmed : places of particles that were not detected, but matched their templates.
    """

    measured: tuple[PositionMeasurement, ...]
    found: dict[int, MeasuredPlace]
    misses: dict[int, int]
    confirmed: dict[int, Array]


def find_places(
    image: Tensor,
    noise: float,
    detections: Detections,
    alive: list[Observation],
    known: PriorKnowledge,
    settings: RegisterSettings,
) -> Places:
    """Match each particle's template near its mask, or near where it is expected.

    Parameters
    ----------
    image : (1, 1, H, W) float32, NaN where invalid. noise : rms of it, OD.
    alive : particles that are seen or coast.
    """
    sigma = mask_sigma(
        detections.area, detections.contrast, detections.cut, noise=noise, psf=settings.psf_px
    )
    refined: dict[int, TemplateFit] = {}
    if settings.refine:
        requests = [_request(s, detections, known) for s in alive if s.particle in known.memories]
        refined = _refine_twice(image, detections.labels, requests, known.last)
        refined = {p: r for p, r in refined.items() if _plausible(p, r, known)}
    measured, found, confirmed, coasting = [], {}, {}, {}
    for sighting in alive:
        item, place = _place(sighting, refined.get(sighting.particle), detections, sigma, known)
        measured.append(item)
        found[sighting.particle] = place
        if sighting.detection < 0 and item.seen:
            confirmed[sighting.particle] = item.yx
        elif sighting.detection < 0:
            coasting[sighting.particle] = known.misses[sighting.particle]
    return Places(measured=tuple(measured), found=found, misses=coasting, confirmed=confirmed)


def _refine_twice(
    image: Tensor,
    labels: NDArray[np.int32],
    requests: list[FitRequest],
    last: Mapping[int, Array],
) -> dict[int, TemplateFit]:
    """Start at the masks; where that leads astray, where the field has carried the particle.

    Masks of faint or touching particles may be off by more than a fit can make good.
    """
    first = refine(image, labels, requests)
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
    second = refine(image, labels, again)
    better = {
        p: r
        for p, r in second.items()
        if p not in first or r.rms * first[p].gain < first[p].rms * r.gain
    }
    return {**first, **better}


def _request(sighting: Observation, detections: Detections, known: PriorKnowledge) -> FitRequest:
    row = sighting.detection
    anchor = known.memories[sighting.particle].nearest
    reach = _REACH_PX
    if row < 0:
        reach += _REACH_PER_MISS_PX * known.misses[sighting.particle]
    else:
        radius = float(np.sqrt(detections.area[row] / np.pi))
        # a share of a mask, or what is left of one, says less
        loose = detections.cut[row] or sighting.divided
        reach = max(_REACH_PX, _REACH_SHARE * radius) * (2.0 if loose else 1.0)
    return FitRequest(
        particle=sighting.particle, anchor=anchor, start=sighting.yx, reach=reach, label=row + 1
    )


def _plausible(particle: int, found: TemplateFit, known: PriorKnowledge) -> bool:
    """Whether something found without a detection is a particle: often seen, of like contrast."""
    if particle not in known.misses:
        return True
    memory = known.memories[particle]
    if sum(anchor.frames for anchor in memory.anchors) < _KNOWN_FRAMES:
        return False
    ratio = found.gain * memory.nearest.contrast / memory.contrast
    return 1 / _LIKE < ratio < _LIKE


def _place(
    sighting: Observation,
    refined: TemplateFit | None,
    detections: Detections,
    sigma: Array,
    known: PriorKnowledge,
) -> tuple[PositionMeasurement, MeasuredPlace]:
    row, particle = sighting.detection, sighting.particle
    seen = row >= 0
    cut = seen and bool(detections.cut[row])
    clean = seen and not cut and not sighting.divided
    contrast = float("nan")
    if refined is None:
        yx = sighting.yx
        error = np.full(2, sigma[row] if seen else _COAST_STEP_PX * known.misses[particle] ** 0.5)
    else:
        anchor = known.memories[particle].nearest
        contrast = refined.gain * anchor.contrast
        yx, error = refined.yx, refined.sigma
        if np.isfinite(anchor.response).all():
            error = np.hypot(error, anchor.response / refined.gain)
    item = PositionMeasurement(
        particle=particle,
        yx=yx,
        sigma=error,
        seen=seen or refined is not None,
        # a template sees through a cut; what was never seen whole has no centre of mass yet
        cut=cut and (refined is None or particle not in known.anchored),
        followed=refined is not None,
    )
    place = MeasuredPlace(
        mask_yx=detections.yx[row] if clean else None, contrast=contrast, row=row, clean=clean
    )
    return item, place
