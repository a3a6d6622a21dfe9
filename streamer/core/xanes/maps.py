"""Maps of one particle: fit and edge of each of its pixels, all pixels at once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ....models.arrays import Array, Image, Mask
from .basis import INVALID, PIXEL, ROW, SIGMA, Basis, background_noise
from .curve import Edges, find_edges, make_curve
from .fit import Fractions, background_variance, excess, fractions, inverse, normal_matrix, to_od
from .reading import Reading
from .rows import MapsRow
from .settings import XanesSettings
from .spectrum import offsets
from .state import AddedFrame, Particle, Sampling, settled

Spectra = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class _Stack:
    """Spectra (n, p) of the pixels of a mask (S, S), OD; 0 where not `known`."""

    pixels: Mask
    spectra: Spectra
    known: NDArray[np.bool_]
    whole: bool


def make_maps(
    number: int,
    particle: Particle,
    seen: Mapping[int, AddedFrame],
    reading: Reading,
    basis: Basis,
    settings: XanesSettings,
) -> MapsRow | None:
    """Maps of a particle as they are now, None if no pixel is known.

    Parameters
    ----------
    number : of the particle. reading : of its mean spectrum.
    """
    particle = settled(particle, number, seen)
    stack = _stack(number, particle, seen)
    if not stack.pixels.any():
        return None
    edges = _edges(stack, particle.sampling.energy, reading, settings)
    told = fit_pixels(particle, stack.pixels, stack) if basis.references else None
    step = edges.step if told is None or reading.curve is not None else told.step
    images = {
        "edge_energy": edges.energy,
        "white_line": edges.white_line,
        "white_line_height": edges.white_height,
        "edge_step": step,
        "fraction": None if told is None else told.fraction,
        "fraction_sigma": None if told is None else told.sigma,
    }
    return MapsRow(
        particle=number,
        n_energies=reading.n_energies,
        n_pixels=int(np.count_nonzero(stack.pixels)),
        revision=particle.maps,
        final=False,
        time=float(particle.sampling.time.max()),
        **{name: _image(stack.pixels, values) for name, values in images.items()},
    )


def enlarged(image: Image, side: int) -> Image:
    """A map (s, s) at the scale (S, S) of the ROIs that were binned for it."""
    if len(image) == side:
        return image
    factor = side // len(image)
    out = np.full((side, side), np.nan, np.float32)
    large = image.repeat(factor, axis=0).repeat(factor, axis=1)
    out[: len(large), : len(large)] = large
    return out


def fit_pixels(particle: Particle, pixels: Mask, stack: _Stack) -> Fractions:
    """Share of the oxidised phase in each of p pixels, from the running sums.

    Pixels that lack some frames have normal equations of their own: those of all frames without
    the frames that they lack.
    """
    sampling = particle.sampling
    normal: Array = normal_matrix(sampling.rows, sampling.weighted)
    offset = offsets(particle)
    right = to_od(particle.sums[:, pixels]) - ((sampling.weighted.T * ROW) @ offset)[:, None]
    weight = sampling.weighted[:, 0] * ROW
    freedom: Array = np.full(right.shape[1], float(np.count_nonzero(weight)))
    solved = inverse(normal)
    coefficients = solved @ right
    cov = np.broadcast_to(solved, (right.shape[1], *solved.shape))
    partial = np.flatnonzero(~stack.known.all(axis=0))
    if len(partial):
        gone = ~stack.known[:, partial]
        right = right[:, partial] + (sampling.weighted.T * (ROW * offset)) @ gone
        own = _without(normal, sampling, gone)
        coefficients[:, partial] = np.einsum("mij,jm->im", own, right)
        cov = cov.copy()
        cov[partial] = own
        freedom[partial] -= (gone & (weight > 0)[:, None]).sum(axis=0)
    residual = sampling.rows.astype(np.float32) @ coefficients.astype(np.float32)
    residual -= stack.spectra
    if len(partial):
        residual *= stack.known
    residual *= residual
    squares = (weight.astype(np.float32) @ residual) / SIGMA**2
    scale = excess(squares.astype(np.float64), freedom - len(normal))
    told = fractions(coefficients, SIGMA**2 * cov, scale)
    clear = weight @ background_noise(np.nan_to_num(sampling.od)) / max(weight.sum(), ROW)
    beside = _beside(particle, offset, solved)
    beneath = background_variance(beside, clear * SIGMA**2 * solved, told)
    return replace(told, sigma=np.sqrt(told.sigma**2 + beneath))


def _beside(particle: Particle, offset: Array, solved: Array) -> Array:
    """Reduced and oxidised phase (2, r), as the fit finds them in what surrounds a particle."""
    ring = particle.around & (particle.missing == 0)
    right = to_od(particle.sums[:, ring])
    right -= ((particle.sampling.weighted.T * ROW) @ offset)[:, None]
    return (solved @ right)[-2:]


def _without(normal: Array, sampling: Sampling, gone: NDArray[np.bool_]) -> Array:
    """Inverse (m, K, K) of normal matrices without the frames (n, m) that pixels lack.

    Most pixels lack one frame or two, so that few of the matrices differ.
    """
    packed = np.ascontiguousarray(np.packbits(gone, axis=0).T)
    names = packed.view(f"S{packed.shape[1]}")[:, 0]  # sorts faster than rows of an array
    _, first, kind = np.unique(names, return_index=True, return_inverse=True)
    lacking = gone[:, first].T.astype(np.float64)
    outer = (sampling.weighted * ROW)[:, :, None] * sampling.rows[:, None, :]
    taken = (lacking @ outer.reshape(len(gone), -1)).reshape(-1, *normal.shape)
    return inverse(normal - taken)[kind]


def _stack(number: int, particle: Particle, seen: Mapping[int, AddedFrame]) -> _Stack:
    count = len(particle.sampling.frame)
    pixels = particle.mask & (2 * particle.missing < count)
    images = [_image_of(seen[int(frame)], number)[pixels] for frame in particle.sampling.frame]
    raw = np.stack(images) if images else np.zeros((0, 0), np.int32)
    known = raw != INVALID
    spectra = raw.astype(np.float32)
    spectra *= np.float32(PIXEL)
    spectra -= offsets(particle).astype(np.float32)[:, None]
    whole = bool(known.all())
    if not whole:
        spectra[~known] = 0
    return _Stack(pixels, spectra, known, whole)


def _image_of(seen: AddedFrame, number: int) -> NDArray[np.int32]:
    return seen.images[seen.particles.index(number)]


def _edges(stack: _Stack, energies: Array, reading: Reading, settings: XanesSettings) -> Edges:
    count = int(np.count_nonzero(stack.pixels))
    curve = reading.curve
    if curve is not None and len(curve.step) != len(energies):  # some frames show but a part of it
        curve = make_curve(energies, reading.edge, settings)
    if curve is None:
        nan = np.full(count, np.nan)
        none = np.full(count, -1)
        return Edges(
            step=nan,
            energy=nan,
            inflection=nan,
            white_line=nan,
            white_height=nan,
            sharpness=nan,
            index=none,
        )
    spectra = stack.spectra if stack.whole else _filled(stack, energies)
    return find_edges(curve, spectra, settings.min_step)


def _filled(stack: _Stack, energies: Array) -> Spectra:
    """Spectra in which what is not known is taken from the next energy at which it is."""
    partial = np.flatnonzero(~stack.known.all(axis=0))
    order = np.argsort(energies, kind="stable")
    known = stack.known[np.ix_(order, partial)]
    places = np.arange(len(order))[:, None]
    before = np.maximum.accumulate(np.where(known, places, -1), axis=0)
    after = np.minimum.accumulate(np.where(known, places, len(order))[::-1], axis=0)[::-1]
    source = np.where(before >= 0, before, np.minimum(after, len(order) - 1))
    spectra = stack.spectra.copy()
    spectra[np.ix_(order, partial)] = spectra[order[source], partial]
    return spectra


def _image(pixels: Mask, values: Array | None) -> Image:
    out = np.full(pixels.shape, np.nan, np.float32)
    if values is not None:
        out[pixels] = values
    return out
