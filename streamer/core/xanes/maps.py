"""Maps of one particle: fit and edge of each of its pixels, all pixels at once."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ....models.arrays import Array, Image, Mask
from .curve import Edges, find_edges, make_operators
from .fit import (
    SIGMA,
    Basis,
    Fractions,
    background_noise,
    background_variance,
    excess,
    fractions,
    inverse,
)
from .settings import XanesSettings
from .spectrum import SpectrumFeatures, offsets
from .state import INVALID, PIXEL, ROW, MapsRow, Particle, Sampling, XanesState, apply_pending

Pixels = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class _Stack:
    """Spectra (n, p) of the pixels of a mask (S, S), OD; 0 where not `known`."""

    pixels: Mask
    spectra: Pixels
    known: NDArray[np.bool_]
    whole: bool


def make_maps(
    number: int,
    particle: Particle,
    state: XanesState,
    features: SpectrumFeatures,
    basis: Basis,
    settings: XanesSettings,
) -> MapsRow | None:
    """Make the maps of a particle as they are now.

    Parameters
    ----------
    number : of the particle. state : has its ROIs. features : of its mean spectrum.

    Returns
    -------
    None if its spectrum has neither a fraction nor an edge yet, or no pixel is known.
    """
    if not np.isfinite(features.fraction) and features.operators is None:
        return None
    particle = apply_pending(particle, number, state.frames)
    stack = _stack(number, particle, state)
    if not stack.pixels.any():
        return None
    edges = _edges(stack, particle.sampling.energy, features, settings)
    fit = fit_pixels(particle, stack) if basis.references else None
    step = edges.step if fit is None or features.operators is not None else fit.step
    images = {
        "edge_energy": edges.energy,
        "white_line": edges.white_line,
        "white_line_height": edges.white_height,
        "edge_step": step,
        "fraction": None if fit is None else fit.fraction,
        "fraction_sigma": None if fit is None else fit.sigma,
    }
    return MapsRow(
        particle=number,
        n_energies=features.n_energies,
        n_pixels=int(np.count_nonzero(stack.pixels)),
        revision=particle.maps_count,
        final=False,
        time=float(particle.sampling.time.max()),
        **{name: _image(stack.pixels, values, state) for name, values in images.items()},
    )


def _stack(number: int, particle: Particle, state: XanesState) -> _Stack:
    """Take the spectra of the pixels of a particle out of its ROIs."""
    sampling = particle.sampling
    pixels = particle.mask & (2 * particle.missing < len(sampling.frame))
    shown = [state.frames[int(frame)] for frame in sampling.frame]
    images = [rois.images[rois.particles.index(number)][pixels] for rois in shown]
    raw = np.stack(images) if images else np.zeros((0, 0), np.int32)
    known = raw != INVALID
    spectra = raw.astype(np.float32)
    spectra *= np.float32(PIXEL)
    spectra -= offsets(sampling.surroundings).astype(np.float32)[:, None]
    whole = bool(known.all())
    if not whole:
        spectra[~known] = 0
    return _Stack(pixels, spectra, known, whole)


def _edges(
    stack: _Stack, energies: Array, features: SpectrumFeatures, settings: XanesSettings
) -> Edges:
    """Find the edge of each pixel; NaN while the mean spectrum has none."""
    operators = features.operators
    if operators is not None and len(operators.step) != len(energies):
        # the mean spectrum lacks frames that show but a part of the particle
        operators = make_operators(energies, features.edge, settings)
    if operators is None:
        nan = np.full(int(np.count_nonzero(stack.pixels)), np.nan)
        return Edges(
            step=nan,
            energy=nan,
            inflection=nan,
            white_line=nan,
            white_height=nan,
            sharpness=nan,
            index=np.full(len(nan), -1),
        )
    spectra = stack.spectra if stack.whole else _filled(stack, energies)
    return find_edges(operators, spectra, settings.min_step)


def _filled(stack: _Stack, energies: Array) -> Pixels:
    """Fill what is not known with the value at the next energy at which it is."""
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


def _image(pixels: Mask, values: Array | None, state: XanesState) -> Image:
    """Put values (p,) of a mask (s, s) into an image (S, S) at the scale of the raw ROIs."""
    small = np.full(pixels.shape, np.nan, np.float32)
    if values is not None:
        small[pixels] = values
    if len(small) == state.side:
        return small
    out = np.full((state.side, state.side), np.nan, np.float32)
    large = small.repeat(state.binning, axis=0).repeat(state.binning, axis=1)
    out[: len(large), : len(large)] = large
    return out


def fit_pixels(particle: Particle, stack: _Stack) -> Fractions:
    """Fit the share of the oxidised phase in each of p pixels, from the running sums.

    Pixels that lack some frames have normal equations of their own: those of all frames without
    the frames that they lack.
    """
    sampling = particle.sampling
    weighted = sampling.weighted.T * ROW
    normal: Array = weighted @ sampling.rows
    offset = offsets(sampling.surroundings)
    common = (weighted @ offset)[:, None]
    right = particle.sums[:, stack.pixels] * (PIXEL * ROW) - common
    weight = sampling.weighted[:, 0] * ROW
    freedom: Array = np.full(right.shape[1], float(np.count_nonzero(weight)))
    solved = inverse(normal)
    coefficients = solved @ right
    cov = np.broadcast_to(solved, (right.shape[1], *solved.shape))
    partial = np.flatnonzero(~stack.known.all(axis=0))
    if len(partial):
        gone = ~stack.known[:, partial]
        right = right[:, partial] + (sampling.weighted.T * (ROW * offset)) @ gone
        own = _inverse_without(normal, sampling, gone)
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
    found = fractions(coefficients, SIGMA**2 * cov, scale)
    clear = weight @ background_noise(np.nan_to_num(sampling.od)) / max(weight.sum(), ROW)
    ring = particle.ring & (particle.missing == 0)
    beside = (solved @ (particle.sums[:, ring] * (PIXEL * ROW) - common))[-2:]
    beneath = background_variance(beside, clear * SIGMA**2 * solved, found)
    return replace(found, sigma=np.sqrt(found.sigma**2 + beneath))


def _inverse_without(normal: Array, sampling: Sampling, gone: NDArray[np.bool_]) -> Array:
    """Invert normal matrices (m, K, K) without the frames (n, m) that pixels lack.

    Most pixels lack one frame or two, so that few of the matrices differ.
    """
    packed = np.ascontiguousarray(np.packbits(gone, axis=0).T)
    names = packed.view(f"S{packed.shape[1]}")[:, 0]  # sorts faster than rows of an array
    _, first, kind = np.unique(names, return_index=True, return_inverse=True)
    lacking = gone[:, first].T.astype(np.float64)
    outer = (sampling.weighted * ROW)[:, :, None] * sampling.rows[:, None, :]
    taken = (lacking @ outer.reshape(len(gone), -1)).reshape(-1, *normal.shape)
    return inverse(normal - taken)[kind]
