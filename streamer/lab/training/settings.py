"""Ranges over which scenes are randomised.

Domain randomisation (Tobin et al. 2017, doi 10.1109/IROS.2017.8202133): ranges are wider than any
beamline shows, so that a real frame is one more variation of what was trained.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import numpy as np

from ..simulate import SimSettings

_EMPTY = 0.05
_LARGE = 0.2
_TYPICAL = 0.35
_FIRST_SEED = 2**24  # smaller ones belong to benches and tests
_REGULAR_SIDE = 256
_BELOW, _OVER, _ABOVE = (8300.0, 8336.0), (8336.0, 8358.0), (8358.0, 8400.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """Share of images with an effect, and the range of its amplitude.

    Attributes
    ----------
    share : probability that an image shows it.
    low, high : range of its amplitude, uniform; the unit is that of the effect.
    """

    share: float
    low: float
    high: float

    def draw(self, rng: np.random.Generator) -> float:
        """Draw the amplitude in one image; 0 if it does not occur."""
        occurs, value = rng.random() < self.share, rng.uniform(self.low, self.high)
        return float(value) if occurs else 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Effects:
    """Effects that the simulated microscope lacks.

    Attributes
    ----------
    halo : Zernike phase contrast, share of the blurred particles that is taken off.
    halo_width : its reach, px.
    cracks : change of the thickness in a crack, relative; drawn for each particle.
    inclusions : dense spots in a particle, relative; drawn for each particle.
    plateau : flattening of a particle, 0 for an ellipsoid, 1 for a disc; drawn for each frame.
    grain : roughness of the particles on a scale of some pixels, relative rms.
    relief : rims that are bright on one side and dark on the other, px.
    defocus : further blur, px.
    debris : crumbs of a few pixels, OD.
    clouds : dense and thin smooth blobs that are no particles, OD.
    correlated : noise with a grain of some pixels, in units of the pixel noise.
    stripes, rings : rms of rows or columns, and of rings, OD.
    gradient : residual illumination, OD from side to side.
    offset : base level of the OD, OD.
    gain : logarithm of a factor on the OD; either sign.
    zingers : share of pixels with wild values that are not masked.
    rim : depth of invalid sides, share of the frame.
    """

    halo: Effect = Effect(share=0.4, low=0.1, high=0.6)
    halo_width: Effect = Effect(share=1.0, low=2.0, high=25.0)
    cracks: Effect = Effect(share=0.2, low=0.2, high=0.8)
    inclusions: Effect = Effect(share=0.15, low=0.3, high=1.2)
    plateau: Effect = Effect(share=0.35, low=0.2, high=0.8)
    grain: Effect = Effect(share=0.35, low=0.02, high=0.2)
    relief: Effect = Effect(share=0.25, low=0.3, high=2.0)
    defocus: Effect = Effect(share=0.2, low=0.5, high=2.5)
    debris: Effect = Effect(share=0.2, low=0.02, high=0.3)
    clouds: Effect = Effect(share=0.45, low=0.01, high=0.25)
    correlated: Effect = Effect(share=0.35, low=0.2, high=1.2)
    stripes: Effect = Effect(share=0.2, low=0.003, high=0.03)
    rings: Effect = Effect(share=0.08, low=0.003, high=0.03)
    gradient: Effect = Effect(share=0.4, low=0.02, high=0.3)
    offset: Effect = Effect(share=0.3, low=-0.2, high=1.2)
    gain: Effect = Effect(share=0.5, low=0.05, high=0.4)
    zingers: Effect = Effect(share=0.15, low=1e-4, high=1e-3)
    rim: Effect = Effect(share=0.2, low=0.03, high=0.35)

    def rarer(self, factor: float) -> Effects:
        """Return the same effects in fewer images; each share is multiplied by `factor`."""
        each = {f.name: getattr(self, f.name) for f in fields(self)}
        return Effects(**{k: replace(e, share=e.share * factor) for k, e in each.items()})


def random_settings(rng: np.random.Generator, side: int = 256, frames: int = 4) -> SimSettings:
    """Draw a microscope and an electrode.

    Parameters
    ----------
    rng : source of randomness.
    side : of the square frame, px.
    frames : number of energies: most below the edge or above it, some between.

    Returns
    -------
    SimSettings; `n_particles` is 0 in one of twenty.
    """
    large = side > _REGULAR_SIDE or rng.random() < _LARGE
    scale = side / _REGULAR_SIDE
    low = scale * _log_uniform(rng, 7.0, 60.0 if large else 24.0)
    high = min(low * rng.uniform(1.2, 4.0), (75.0 if large else 45.0) * scale)
    room = max(1.0, 0.35 * (side / (low + high)) ** 2)
    most = min(24.0 if rng.random() < 0.1 else 12.0, max(room, 2.0))
    empty, typical = rng.random() < _EMPTY, rng.random() < _TYPICAL
    return SimSettings(
        seed=int(rng.integers(_FIRST_SEED, 2**31)),
        shape=(side, side),
        energies=_energies(rng, frames),
        n_particles=0 if empty else int(np.ceil(rng.uniform(0.0, most))),
        radius_px=(min(low, high), max(low, high)),
        irregularity=rng.random(),
        touching=rng.random() if rng.random() < 0.6 else 0.0,
        allow_cut=bool(rng.random() < 0.5),
        edge_od=_log_uniform(rng, *((0.6, 1.5) if typical else (0.08, 2.0))),
        pre_edge=_log_uniform(rng, *((0.12, 0.3) if typical else (0.03, 0.4))),
        chemistry="mixed",
        background=0.0 if rng.random() < 0.1 else _log_uniform(rng, 0.004, 0.15),
        psf_px=rng.uniform(0.6, 2.5),
        counts=_log_uniform(rng, 150.0, 20000.0),
        chunk=int(rng.integers(1, 5)),
        illumination_low=_log_uniform(rng, 0.02, 0.3) if rng.random() < 0.2 else None,
        illumination_shift_px=rng.uniform(0.0, 30.0) * scale,
        flat_lag_px=rng.uniform(0.5, 12.0) * scale if rng.random() < 0.3 else 0.0,
        structure=rng.uniform(0.0, 0.08),
        read_noise=rng.uniform(0.0, 6.0),
        hot_pixels=int(rng.integers(0, 40)),
    )


def _log_uniform(rng: np.random.Generator, low: float, high: float) -> float:
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


def _energies(rng: np.random.Generator, n: int) -> tuple[float, ...]:
    windows = rng.choice(3, n, p=[0.4, 0.25, 0.35])
    spans = (_BELOW, _OVER, _ABOVE)
    return tuple(sorted(float(rng.uniform(*spans[window])) for window in windows))
