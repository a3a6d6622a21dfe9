"""Training frames: optical density as the corrector gives it, with its truth."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, uniform_filter

from ....models.arrays import Array, Image
from ..simulate import SimSettings
from ..simulate.raster import Box, body_points, box_of, draw, grow
from ..simulate.shapes import Body, make_body
from ..simulate.spectra import OXIDISED, REDUCED, absorption
from . import augment
from .augment import AugmentedFrame, Microscope
from .layout import BodyPose, arrange
from .settings import Effects, random_settings

_CALM, _RARER = 0.35, 0.25
FRAMES = 4
"""Frames that share a microscope and a cast of particles: setting these up costs more than one."""
_STEP = 1.4
"""Ratio of neighbouring sizes for which the structure is computed."""
_SIDE = 6  # least side of a square, cells

# How far a particle stands out from what the same frame shows without it.


def visibility(contrast: Array, radius: Array, noise: Array, structure: Image) -> Array:
    """Divide the contrast of particles by the rms contrast of places without one.

    The contrast of a place is the mean of a square of the particle's area less that of a frame of
    the same area around it. Counting noise and the structure of the background are both in it, as
    both can be mistaken for a particle.

    Parameters
    ----------
    contrast : (P,) mean OD. radius : (P,) equal-area, px. noise : (P,) of a pixel, OD rms.
    structure : (H, W) noise-free OD of everything but the particles.

    Returns
    -------
    (P,) float64; below about 3 nobody can say that there is a particle.
    """
    sizes = np.rint(np.log(radius) / np.log(_STEP))
    behind = np.zeros(len(radius))
    for size in np.unique(sizes):
        behind[sizes == size] = _rms(structure, float(_STEP**size))
    # the square and the frame around it have the same area
    counting = noise * np.sqrt(2 / (np.pi * radius**2))
    return contrast / np.maximum(np.hypot(counting, behind), 1e-9)


def _rms(structure: Image, radius: float) -> float:
    """Compute the rms over the frame of the contrast of squares of this equal-area radius."""
    side = np.sqrt(np.pi) * radius
    step = max(1, int(side / _SIDE))
    height, width = (n // step * step for n in structure.shape)
    cells = structure[:height, :width].reshape(height // step, step, width // step, step)
    coarse = cells.mean(axis=(1, 3))
    inner, outer = max(round(side / step), 2), max(round(np.sqrt(2) * side / step), 3)
    near, wide = (uniform_filter(coarse, n, mode="reflect") for n in (inner, outer))
    ring = (wide * outer**2 - near * inner**2) / (outer**2 - inner**2)
    return float(np.sqrt(np.mean((near - ring) ** 2)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Alone:
    """One particle as if nothing else were there.

    Attributes
    ----------
    box : the pixels of the frame.
    silhouette : (h, w) bool, whole, also where another particle lies over it.
    thickness : (h, w) float32, its blurred optical density over its own 95th percentile.
    """

    box: Box
    silhouette: NDArray[np.bool_]
    thickness: Image


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingScene:
    """A frame and its truth, of P particles; the order is that of the labels 1..P.

    Attributes
    ----------
    od : (H, W) float32, OD as the corrector gives it: noisy, not flat, 0 where invalid.
    valid : (H, W) bool.
    labels : (H, W) int32, silhouettes; 0 for the background, the smaller of two that overlap.
    thickness : (H, W) float32, the clean target of each particle within its label: noise-free OD
        over its own 95th percentile, about 0..1 whatever its contrast.
    alone : of each particle.
    yx : (P,) centres of mass of the silhouettes, (P, 2) float64, px.
    diameter : (P,) float64, equal-area, of the whole particle, px.
    contrast : (P,) float64, mean OD in this frame.
    snr : (P,) float64, contrast over the noise of a pixel.
    whole : (P,) bool, not cut by the frame.
    visibility : (P,) float64, see `visibility`.
    """

    od: Image
    valid: NDArray[np.bool_]
    labels: NDArray[np.int32]
    thickness: Image
    alone: tuple[Alone, ...]
    yx: Array
    diameter: Array
    contrast: Array
    snr: Array
    whole: NDArray[np.bool_]
    visibility: Array


def random_scene(seed: int, side: int = 256, effects: Effects | None = None) -> TrainingScene:
    """Make the first scene of a seed; see `random_scenes`."""
    return next(random_scenes(seed, 1, side, effects))


def random_scenes(
    seed: int, n: int, side: int = 256, effects: Effects | None = None
) -> Iterator[TrainingScene]:
    """Draw scenes; the k-th depends on nothing but the seed, k, the side and the effects.

    Parameters
    ----------
    seed : of everything.
    n : number of scenes.
    side : of the frames, px.
    effects : beyond the simulated microscope.
    """
    effects = effects or Effects()
    for start in range(0, n, FRAMES):
        rng = np.random.default_rng([seed, 1, start // FRAMES])
        settings = random_settings(rng, side, FRAMES)
        cast = _cast(rng, settings)
        microscope = Microscope(settings)
        for frame in range(min(FRAMES, n - start)):
            rng = np.random.default_rng([seed, 2, start + frame])
            yield _scene(rng, settings, cast, microscope, frame, effects)


def _cast(rng: np.random.Generator, settings: SimSettings) -> list[Body]:
    """Draw bodies of log-uniform radii; thick ones are dense, more or less."""
    low, high = np.log(settings.radius_px)
    power = rng.uniform(0.2, 1.0)
    bodies = []
    for _ in range(settings.n_particles):
        radius = float(np.exp(rng.uniform(low, high)))
        od = 1.5 * settings.edge_od * (radius / np.exp((low + high) / 2)) ** power
        od *= rng.uniform(0.6, 1.4)
        bodies.append(make_body(rng, radius, od, settings.irregularity, settings.chemistry))
    return bodies


@dataclass(frozen=True, slots=True, kw_only=True)
class _Drawn:
    """A particle with its silhouette and its sharp OD in a box."""

    place: BodyPose
    box: Box
    silhouette: NDArray[np.bool_]
    od: Image


def _scene(
    rng: np.random.Generator,
    settings: SimSettings,
    cast: list[Body],
    microscope: Microscope,
    frame: int,
    effects: Effects,
) -> TrainingScene:
    if rng.random() < _CALM:
        effects = effects.rarer(_RARER)
    energy = float(settings.scan_energies[frame])
    some = rng.permutation(len(cast))[: int(np.ceil(len(cast) * rng.uniform(0.5, 1.0)))]
    places = arrange(rng, [cast[i] for i in some], settings)
    flat = effects.plateau.draw(rng)
    drawn = [d for place in places if (d := _draw(rng, place, settings, energy, effects, flat))]
    drawn, labels = _labelled(drawn, settings.shape)
    psf = float(np.hypot(settings.psf_px, effects.defocus.draw(rng)))
    particles = _particles(rng, drawn, settings.shape, psf, effects)
    other = _other(rng, settings.shape, effects)
    seen = microscope.image(rng, frame, particles + other, int(rng.choice([1, 3, 10])))
    image = _flawed(rng, seen, other, effects)
    return _truth(drawn, labels, image, psf)


def _draw(
    rng: np.random.Generator,
    place: BodyPose,
    settings: SimSettings,
    energy: float,
    effects: Effects,
    flat: float,
) -> _Drawn | None:
    box = box_of(place.body, place.yx, place.linear, settings.shape)
    if box is None:
        return None
    front = float(place.body.front_for(np.array(rng.uniform(0.02, 0.98))))
    reduced, oxidised = (
        float(absorption(energy, state, settings.pre_edge)) for state in (REDUCED, OXIDISED)
    )
    od = draw(place.body, place.yx, place.linear, box, (front, reduced, oxidised))
    if flat:
        od = augment.plateau(od, flat)
    if depth := effects.cracks.draw(rng):
        od = augment.crack(od, rng, depth * float(rng.choice([1.0, 1.0, -1.0])))
    if amount := effects.inclusions.draw(rng):
        od = augment.inclusion(od, rng, amount)
    inside = place.body.inside(body_points(place.yx, place.linear, box))
    return _Drawn(place=place, box=box, silhouette=inside, od=od.astype(np.float32, copy=False))


def _labelled(
    drawn: list[_Drawn], shape: tuple[int, int]
) -> tuple[list[_Drawn], NDArray[np.int32]]:
    """Label those that are seen, the smaller of two in front; return which ones these are."""
    drawn = sorted(drawn, key=lambda d: -d.place.radius)
    labels = np.zeros(shape, np.int32)
    for i, one in enumerate(drawn):
        labels[one.box][one.silhouette] = i + 1
    seen = np.bincount(labels.ravel(), minlength=len(drawn) + 1)[1:] > 0
    number = np.concatenate([[0], np.cumsum(seen) * seen]).astype(np.int32)
    return [one for one, is_seen in zip(drawn, seen, strict=True) if is_seen], number[labels]


def _particles(
    rng: np.random.Generator,
    drawn: list[_Drawn],
    shape: tuple[int, int],
    psf: float,
    effects: Effects,
) -> Image:
    """Draw the OD of all particles, blurred as intensity."""
    od = np.zeros(shape, np.float32)
    if not drawn:
        return od
    for one in drawn:
        od[one.box] += one.od
    if amount := effects.grain.draw(rng):
        od *= 1 + augment.correlated_noise(shape, rng, amount)
    if strength := effects.halo.draw(rng):
        od = augment.halo(od, strength, effects.halo_width.draw(rng))
    od = -np.log(gaussian_filter(np.exp(-od), psf, truncate=3, mode="nearest"))
    if reach := effects.relief.draw(rng):
        od = augment.relief(od, rng, reach)
    return od


def _other(rng: np.random.Generator, shape: tuple[int, int], effects: Effects) -> Image:
    """Draw the OD of what is no particle and not the simulated background either."""
    od = np.zeros(shape, np.float32)
    for effect, make in ((effects.clouds, augment.clouds), (effects.debris, augment.debris)):
        if amount := effect.draw(rng):
            od += make(shape, rng, amount)
    return od


@dataclass(frozen=True, slots=True, kw_only=True)
class _Flawed:
    """Final image; `structure` (H, W) is what is no particle."""

    od: Image
    valid: NDArray[np.bool_]
    noise: Image
    structure: Image
    gain: float


def _flawed(
    rng: np.random.Generator, seen: AugmentedFrame, other: Image, effects: Effects
) -> _Flawed:
    """Add the flaws that come after the sample."""
    shape = (seen.od.shape[0], seen.od.shape[1])
    flaws = np.zeros(shape, np.float32)
    if amount := effects.correlated.draw(rng):
        flaws += augment.correlated_noise(shape, rng, amount * float(np.median(seen.noise)))
    for effect, make in (
        (effects.stripes, augment.stripes),
        (effects.rings, augment.rings),
        (effects.gradient, augment.gradient),
    ):
        if amount := effect.draw(rng):
            flaws += make(shape, rng, amount)
    flaws += np.float32(effects.offset.draw(rng))
    gain = float(np.exp(effects.gain.draw(rng) * rng.choice([-1.0, 1.0])))
    od, valid = (seen.od + flaws) * np.float32(gain), seen.valid
    if share := effects.zingers.draw(rng):
        od = augment.zingers(od, rng, share)
    if depth := effects.rim.draw(rng):
        valid = valid & augment.dark_sides(shape, rng, depth)
    return _Flawed(
        od=np.where(valid, od, np.float32(0)),
        valid=valid,
        noise=seen.noise * np.float32(gain),
        structure=(seen.background + other + flaws) * np.float32(gain),
        gain=gain,
    )


def _truth(
    drawn: list[_Drawn], labels: NDArray[np.int32], image: _Flawed, psf: float
) -> TrainingScene:
    shape = labels.shape
    thickness = np.zeros(shape, np.float32)
    alone = [_alone(one, shape, psf) for one in drawn]
    for i, one in enumerate(alone):
        mine = labels[one.box] == i + 1
        thickness[one.box][mine] = one.thickness[mine]
    contrast = image.gain * _array(float(d.od[d.silhouette].mean()) for d in drawn)
    noise = _array(float(np.median(image.noise[d.box][d.silhouette])) for d in drawn)
    radius = _array(d.place.radius for d in drawn)
    return TrainingScene(
        od=image.od,
        valid=image.valid,
        labels=labels,
        thickness=thickness,
        alone=tuple(alone),
        yx=np.array([d.place.yx for d in drawn], np.float64).reshape(-1, 2),
        diameter=2 * radius,
        contrast=contrast,
        snr=contrast / noise,
        whole=np.array([_is_whole(d, shape) for d in drawn], np.bool_),
        visibility=visibility(contrast, radius, noise, image.structure),
    )


def _array(values: Iterable[float]) -> Array:
    return np.fromiter(values, np.float64)


def _alone(one: _Drawn, shape: tuple[int, ...], psf: float) -> Alone:
    box = grow(one.box, int(np.ceil(3 * psf)), shape)
    pad = [
        (inner.start - outer.start, outer.stop - inner.stop)
        for inner, outer in zip(one.box, box, strict=True)
    ]
    silhouette, sharp = np.pad(one.silhouette, pad), np.pad(one.od, pad)
    soft = -np.log(gaussian_filter(np.exp(-sharp), psf, truncate=3, mode="nearest"))
    top = max(float(np.percentile(soft[silhouette], 95)), 1e-9)
    return Alone(box=box, silhouette=silhouette, thickness=(soft / top).astype(np.float32))


def _is_whole(one: _Drawn, shape: tuple[int, ...]) -> bool:
    outline = one.place.body.points(90) @ one.place.linear.T + one.place.yx
    return bool(np.all((outline > -0.5) & (outline < np.array(shape) - 0.5)))
