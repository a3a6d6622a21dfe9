"""Draw irregular particles: contour, projected thickness and oxidation front.

Body coordinates are complex, ``x + 1j * y`` in px; the origin is the centre of mass of the
silhouette, so that an affine map of the body moves the truth exactly with it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, map_coordinates

from .settings import Chemistry

Points = NDArray[np.complex64]

# By eye, after images of secondary particles of layered oxides.
_HARMONICS = 9  # of the contour
_LUMP_GRID = 64
_LUMPS = ((1.7, 0.045), (4.5, 0.045))  # blur, cells of the grid, and rms of the thickness
_ANGLES = np.exp(1j * np.linspace(0, 2 * np.pi, 1440, endpoint=False))


@dataclass(frozen=True, slots=True, kw_only=True)
class Body:
    """One particle at rest.

    Attributes
    ----------
    radius : radius of the disc of equal area, px.
    contour : complex Fourier coefficients (K,) of the contour, px; ``r = Re(sum c_k u**k)``.
    centre : centre of mass of the silhouette relative to the origin of the contour, px.
    reach : largest distance of the contour from the centre of mass, px.
    od : optical density above the edge where the particle is thickest, OD.
    lumps : (64, 64) factor around 1 that roughens the thickness, over the square of `reach`.
    core : where the last reduced material is, body coordinates in units of `radius`.
    front_width : width of the oxidation front, in units of `radius`.
    fronts : tabulated positions of the front, radii from the core.
    mean_fraction : thickness-weighted oxidised share at each of them.
    spin : own rotation at the end of the series, rad.
    """

    radius: float
    contour: NDArray[np.complex64]
    centre: complex
    reach: float
    od: float
    lumps: NDArray[np.float32]
    core: complex
    front_width: float
    fronts: NDArray[np.float64]
    mean_fraction: NDArray[np.float64]
    spin: float

    def outline(self, direction: NDArray[np.complex128]) -> NDArray[np.float64]:
        """Return the distance of the contour from its own origin along unit vectors, px."""
        r = np.polynomial.polynomial.polyval(direction, self.contour).real
        return np.asarray(r, dtype=np.float64)

    def points(self, n: int) -> NDArray[np.float64]:
        """Sample the contour at n points (y, x), relative to the centre of mass, px."""
        u = np.exp(2j * np.pi * np.arange(n) / n)
        z = self.outline(u) * u - self.centre
        return np.stack([z.imag, z.real], 1).astype(np.float64)

    def profile(self, z: Points) -> NDArray[np.float32]:
        """Return the ellipsoid-like thickness, 1 at the thickest, 0 outside; shape of `z`."""
        w = z + np.complex64(self.centre)
        distance = np.abs(w)
        u = w / np.maximum(distance, np.float32(1e-6))
        edge = np.full_like(u, self.contour[-1])
        for c in self.contour[-2::-1]:
            edge *= u
            edge += c
        rho = distance / edge.real
        return np.sqrt(np.maximum(1 - rho * rho, np.float32(0)))

    def inside(self, z: Points) -> NDArray[np.bool_]:
        """Tell where the projected thickness is not 0; shape of `z`."""
        return self.profile(z) > 0

    def roughness(self, z: Points) -> NDArray[np.float32]:
        """Return the factor around 1 by which primary grains modulate the thickness."""
        scale = np.float32((_LUMP_GRID - 1) / 2)
        at = np.stack([z.imag, z.real]) * (scale / np.float32(self.reach)) + scale
        factor = map_coordinates(self.lumps, at, order=1, mode="nearest")
        return np.asarray(factor, dtype=np.float32)

    def fraction(self, z: Points, front: float) -> NDArray[np.float32]:
        """Return the oxidised share 0..1 at `z` with the front `front` radii away from the core."""
        distance = np.abs(z / np.float32(self.radius) - np.complex64(self.core))
        half = np.float32(0.5)
        x = (distance - np.float32(front)) / np.float32(self.front_width)
        # the logistic function of x
        return (half + half * np.tanh(half * x)).astype(np.float32, copy=False)

    def front_for(self, fraction: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the position of the front where the mean oxidised share is `fraction`, radii."""
        return np.interp(fraction, self.mean_fraction[::-1], self.fronts[::-1])


def _contour(
    rng: np.random.Generator, radius: float, irregularity: float
) -> NDArray[np.complex128]:
    order = np.arange(2, _HARMONICS + 1)
    size = irregularity * 0.22 / order**1.15 * rng.uniform(0.4, 1.0, order.size)
    phase = np.exp(2j * np.pi * rng.random(order.size))
    c = np.concatenate([[1.0, 0.0], size * phase])
    r = np.polynomial.polynomial.polyval(_ANGLES, c).real
    return c * radius / np.sqrt(np.mean(r**2))


def _lumps(rng: np.random.Generator) -> NDArray[np.float32]:
    noise = rng.standard_normal((_LUMP_GRID, _LUMP_GRID))
    field = sum(
        weight * part / part.std()
        for sigma, weight in _LUMPS
        for part in [gaussian_filter(noise, sigma, mode="wrap")]
    )
    return np.asarray(1 + field, dtype=np.float32)


def _core(rng: np.random.Generator, chemistry: Chemistry) -> tuple[complex, float]:
    """Draw the position of the core and the width of the front, in radii."""
    kind = (
        rng.choice(["uniform", "core_shell", "off_centre"]) if chemistry == "mixed" else chemistry
    )
    direction = np.exp(2j * np.pi * rng.random())
    offset = {"uniform": 0.0, "core_shell": 0.05, "off_centre": 0.45}[str(kind)]
    return complex(offset * direction), 1.5 if kind == "uniform" else 0.12


def _tabulate(body: Body) -> NDArray[np.float64]:
    axis = np.linspace(-body.reach, body.reach, 65, dtype=np.float32)
    z = (axis[None, :] + 1j * axis[:, None]).astype(np.complex64).ravel()
    weight = body.profile(z) * body.roughness(z)
    keep = weight > 0
    z, weight = z[keep], weight[keep].astype(np.float64)
    shares = [np.average(body.fraction(z, f), weights=weight) for f in body.fronts]
    return np.array(shares, dtype=np.float64)


def make_body(
    rng: np.random.Generator, radius: float, od: float, irregularity: float, chemistry: Chemistry
) -> Body:
    """Draw a particle.

    Parameters
    ----------
    rng : source of randomness.
    radius : equal-area radius, px.
    od : optical density above the edge at the thickest place, OD.
    irregularity : 0..1, see the settings.
    chemistry : where the oxidation runs.
    """
    contour = _contour(rng, radius, irregularity)
    r = np.polynomial.polynomial.polyval(_ANGLES, contour).real
    centre = complex(np.mean(r**3 * _ANGLES) / 3 / (np.mean(r**2) / 2))
    core, width = _core(rng, chemistry)
    parts = {
        "radius": radius,
        "contour": contour.astype(np.complex64),
        "centre": centre,
        "reach": float(np.abs(r * _ANGLES - centre).max()),
        "od": od,
        "lumps": _lumps(rng),
        "core": core,
        "front_width": width,
        "fronts": np.linspace(-0.6 - 5 * width, 1.6 + 5 * width, 96),
        "spin": float(rng.uniform(-1, 1)),
    }
    bare = Body(mean_fraction=np.zeros(0), **parts)
    return Body(mean_fraction=_tabulate(bare), **parts)
