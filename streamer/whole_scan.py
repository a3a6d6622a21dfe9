"""A second look at a scan that is over: every frame against the best template of each particle.

Live values chain templates over the contrasts of the scan, in the order in which they come. When
the scan is over, the template that tells most is known, and every frame is matched with it at once;
what the background did to the places is judged over the whole scan (see `register.blend`), and the
motion is followed again from the beginning.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from .branch import compare
from .records import Record
from .register import motion as motion_core
from .register.anchors import Anchor, Memory
from .register.blend import Track, blend
from .register.fuse import crop_rois, fuse
from .register.motion import FieldMotion, Measured, MotionState
from .register.refine import Refined, Request, refine
from .register.settings import RegisterSettings
from .register.steady import steady
from .results import FrameResult, ParticleResult

Array = NDArray[np.float64]
Load = Callable[[int], tuple[Tensor, NDArray[np.int32]] | None]

_REACH_PX = 3.0
# what an uneven chemistry may still do to a place, per variation of the gain over a radius
_CHEMISTRY_PX = 0.2


@dataclass(frozen=True, slots=True, kw_only=True)
class Scan:
    """A scan that is over.

    Attributes
    ----------
    records : of its frames, in their order. load : gives image and masks of a frame, None if they
        are no longer there.
    memories : what each particle looks like. before : motion when the scan began.
    side : of the ROIs, px.
    """

    records: Sequence[Record]
    load: Load
    memories: Mapping[int, Memory]
    before: MotionState
    side: int


def look_again(scan: Scan, settings: RegisterSettings) -> tuple[MotionState, Iterator[FrameResult]]:
    """Measure all places again.

    Returns
    -------
    The motion at the end of the scan, and the revised results of its frames, made one by one.
    """
    places = _places(scan)
    state = scan.before
    fields: list[tuple[Record, FieldMotion]] = []
    for item in scan.records:
        measured = tuple(_revised(m, item, places) for m in item.instant.measured)
        state, field = motion_core.update(state, replace(item.instant, measured=measured), settings)
        fields.append((item, field))
    return state, _results(scan, fields, settings)


@dataclass(frozen=True, slots=True)
class _Found:
    """Revised place of one particle in one frame, px."""

    yx: Array
    sigma: Array


def _places(scan: Scan) -> dict[tuple[int, int], _Found]:
    """Revised places by frame and particle."""
    best = {p: m.best for p, m in scan.memories.items() if m.best.rim is not None}
    fits: dict[int, dict[int, Refined]] = {}
    for item in scan.records:
        loaded = scan.load(item.result.frame)
        if loaded is not None:
            fits[item.result.frame] = refine(loaded[0], loaded[1], _requests(item, best))
    numbers = [p for p in best if any(p in found for found in fits.values())]
    tracks = [_track(scan.records, fits, p, best[p]) for p in numbers]
    blended = blend(tracks)
    if not blended:
        return {}
    noise = np.stack([t.noise for t in tracks], axis=1)
    yx, noise = steady(np.stack([b.yx for b in blended], axis=1), noise)
    out: dict[tuple[int, int], _Found] = {}
    for column, (particle, track, both) in enumerate(zip(numbers, tracks, blended, strict=True)):
        pull = np.hypot(both.sigma, _CHEMISTRY_PX * track.tilt[:, None])
        for row in np.flatnonzero(np.isfinite(track.fitted).all(axis=1)):
            out[scan.records[row].result.frame, particle] = _Found(
                yx[row, column] + both.centre, np.hypot(noise[row, column], pull[row])
            )
    return out


def _requests(item: Record, best: Mapping[int, Anchor]) -> list[Request]:
    requests = []
    for m in item.instant.measured:
        place = item.found.get(m.particle)
        if m.particle not in best or place is None or not m.seen:
            continue
        requests.append(
            Request(
                particle=m.particle,
                anchor=best[m.particle],
                start=m.yx,
                reach=_REACH_PX,
                label=place.row + 1,
            )
        )
    return requests


def _track(
    records: Sequence[Record],
    fits: Mapping[int, Mapping[int, Refined]],
    particle: int,
    best: Anchor,
) -> Track:
    fitted, mask, noise = (np.full((len(records), 2), np.nan) for _ in range(3))
    faintness, tilt = (np.full(len(records), np.nan) for _ in range(2))
    for row, item in enumerate(records):
        fit = fits.get(item.result.frame, {}).get(particle)
        if fit is None:
            continue
        fitted[row], noise[row] = fit.yx, fit.sigma
        faintness[row], tilt[row] = 1.0 / fit.gain - 1.0, fit.tilt
        seen = item.found[particle].mask_yx
        if seen is not None:
            mask[row] = seen
    return Track(
        fitted=fitted,
        noise=noise,
        mask=mask,
        faintness=faintness,
        tilt=tilt,
        response=best.response,
    )


def _revised(item: Measured, record: Record, places: Mapping[tuple[int, int], _Found]) -> Measured:
    found = places.get((record.result.frame, item.particle))
    if found is None:
        return item
    return replace(item, yx=found.yx, sigma=found.sigma, followed=True)


def _results(
    scan: Scan, fields: list[tuple[Record, FieldMotion]], settings: RegisterSettings
) -> Iterator[FrameResult]:
    before: dict[int, Tensor] = {}
    for item, field in fields:
        loaded = scan.load(item.result.frame)
        if loaded is None:
            continue
        image = loaded[0]
        rois = crop_rois(image, np.array([m.yx for m in field.moved]).reshape(-1, 2), scan.side)
        likeness = compare(before, field, rois, settings.ssim_range)
        before = {**before, **{m.particle: rois[i] for i, m in enumerate(field.moved)}}
        yield replace(
            item.result,
            revision=item.result.revision + 1,
            drift=field.drift,
            drift_sigma=float(np.sqrt(np.mean(field.sigma**2))),
            gauge=field.gauge,
            affine=field.affine,
            magnification=field.magnification,
            aligned=fuse(image, field, item.moments).cpu().numpy(),
            particles=_particles(item, field, rois.cpu().numpy()[:, 0], likeness),
        )


def _particles(
    item: Record, field: FieldMotion, rois: NDArray[np.float32], likeness: Array
) -> tuple[ParticleResult, ...]:
    moved = {m.particle: (i, m) for i, m in enumerate(field.moved)}
    out = []
    for told in item.result.particles:
        if told.particle not in moved:
            empty = np.full(rois.shape[1:], np.nan, np.float32)
            out.append(replace(told, roi=empty))
            continue
        i, m = moved[told.particle]
        out.append(
            replace(
                told,
                yx=m.yx,
                sigma=m.sigma,
                displacement=m.displacement,
                rates=m.rates,
                path=m.path,
                residual=m.residual,
                ssim=float(likeness[i]),
                roi=rois[i],
            )
        )
    return tuple(out)
