"""Streams of a result run: the keys of their events, with type and unit, and what fills them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from .advice import ADVICE_KEYS
from .register.images import unaligned_shape
from .register.settings import DIRECTIONS
from .results import FrameResult, ParticleResult
from .xanes import MapsRow, SpectrumRow

_PARTICLE_KEYS: dict[str, tuple[str, str]] = {
    "frame": ("integer", ""),
    "energy": ("number", "eV"),
    "revision": ("integer", ""),
    "particle": ("integer", ""),
    "state": ("string", ""),
    "y": ("number", "px"),
    "x": ("number", "px"),
    "sigma_y": ("number", "px"),
    "sigma_x": ("number", "px"),
    "displacement_y": ("number", "px"),
    "displacement_x": ("number", "px"),
    "velocity_y": ("number", "px/s"),
    "velocity_x": ("number", "px/s"),
    "velocity_sigma_y": ("number", "px/s"),
    "velocity_sigma_x": ("number", "px/s"),
    "acceleration_y": ("number", "px/s^2"),
    "acceleration_x": ("number", "px/s^2"),
    "acceleration_sigma_y": ("number", "px/s^2"),
    "acceleration_sigma_x": ("number", "px/s^2"),
    "path_length": ("number", "px"),
    "residual_y": ("number", "px"),
    "residual_x": ("number", "px"),
    "area": ("number", "px^2"),
    "od_mean": ("number", "OD"),
    "ssim": ("number", ""),
}

_FRAME_KEYS: dict[str, tuple[str, str]] = {
    "frame": ("integer", ""),
    "raw_seq_num": ("integer", ""),
    "energy": ("number", "eV"),
    "revision": ("integer", ""),
    "drift_y": ("number", "px"),
    "drift_x": ("number", "px"),
    "drift_sigma": ("number", "px"),
    "strain_yy": ("number", ""),
    "strain_xx": ("number", ""),
    "strain_yx": ("number", ""),
    "strain_sigma": ("number", ""),
    "rotation": ("number", "rad"),
    "rotation_sigma": ("number", "rad"),
    "magnification": ("number", ""),
    "magnification_sigma": ("number", ""),
    "gauge": ("string", ""),
    "gauge_reason": ("string", ""),
    "n_particles": ("integer", ""),
    "status": ("string", ""),
    "reason": ("string", ""),
    "latency": ("number", "s"),
    "ledger_received": ("integer", ""),
    "ledger_aligned": ("integer", ""),
    "ledger_degraded": ("integer", ""),
    "ledger_skipped": ("integer", ""),
    "ledger_dropped": ("integer", ""),
}

_SPECTRUM_KEYS: dict[str, tuple[str, str]] = {
    "particle": ("integer", ""),
    "frame": ("integer", ""),
    "revision": ("integer", ""),
    "energy": ("number", "eV"),
    "od": ("number", "OD"),
    "od_sigma": ("number", "OD"),
    "surroundings": ("number", "OD"),
    "n_pixels": ("integer", ""),
    "n_energies": ("integer", ""),
    "fraction": ("number", ""),
    "fraction_sigma": ("number", ""),
    "enough": ("boolean", ""),
    "edge_energy": ("number", "eV"),
    "edge_energy_sigma": ("number", "eV"),
    "edge_inflection": ("number", "eV"),
    "white_line": ("number", "eV"),
    "white_line_height": ("number", ""),
}

_MAP_KEYS: dict[str, tuple[str, str]] = {
    "particle": ("integer", ""),
    "n_energies": ("integer", ""),
    "n_pixels": ("integer", ""),
    "revision": ("integer", ""),
    "final": ("boolean", ""),
}

_ARRAYS: dict[str, dict[str, str]] = {
    "frames": {"aligned": "OD", "unaligned": "OD"},
    "particles": {"roi": "OD", "outline": "px"},
    "spectra": {},
    "maps": {
        "edge_energy": "eV",
        "white_line": "eV",
        "white_line_height": "",
        "edge_step": "OD",
        "fraction": "",
        "fraction_sigma": "",
    },
}

HINTS = {
    "frames": ["drift_y", "drift_x", "n_particles"],
    "particles": ["y", "x"],
    "spectra": ["od", "fraction"],
    "maps": ["n_energies"],
    "advice": ["move_y", "move_x"],
}

_NUMPY_TYPES = {"integer": "<i8", "number": "<f8", "string": "<U64", "boolean": "|b1"}
_LONGER = {"message": "<U256"}

_SCALARS = {
    "frames": _FRAME_KEYS,
    "particles": _PARTICLE_KEYS,
    "spectra": _SPECTRUM_KEYS,
    "maps": _MAP_KEYS,
    "advice": ADVICE_KEYS,
}


def describe(stream: str, image: tuple[int, int], source: str) -> dict[str, dict[str, Any]]:
    """Describe the data of a stream's events.

    Parameters
    ----------
    stream : ``frames``, ``particles``, ``spectra``, ``maps`` or ``advice``.
    image : shape of its images: of aligned frames, of ROIs, of maps.
    source : where the values come from.
    """
    common = {"source": source, "object_name": "operando"}
    keys: dict[str, dict[str, Any]] = {}
    for name, (dtype, units) in _SCALARS[stream].items():
        numpy_type = _LONGER.get(name, _NUMPY_TYPES[dtype])
        keys[name] = common | {
            "dtype": dtype,
            "dtype_numpy": numpy_type,
            "shape": [],
            "units": units,
        }
    for name, units in _ARRAYS.get(stream, {}).items():
        shape = list(_array_shape(name, image))
        keys[name] = common | {
            "dtype": "array",
            "dtype_numpy": "<f4",
            "shape": shape,
            "units": units,
        }
    return keys


def _array_shape(array: str, image: tuple[int, int]) -> tuple[int, ...]:
    if array == "unaligned":
        return unaligned_shape(image)
    return (DIRECTIONS,) if array == "outline" else image


def frame_data(
    result: FrameResult, shape: tuple[int, int], latency: float, books: Mapping[str, int]
) -> dict[str, Any]:
    """Fill one event of ``frames``; a skipped frame has an aligned image of NaN.

    `books` are those of the ledger (`Ledger.live`) when the frame was received.
    """
    aligned, unaligned = result.aligned, result.unaligned
    if aligned is None:
        aligned = np.full(shape, np.nan, np.float32)
    if unaligned is None:
        unaligned = np.full(unaligned_shape(shape), np.nan, np.float32)
    yy, xx, yx = result.affine.strain
    return {
        "frame": result.frame,
        "raw_seq_num": result.key.seq_num,
        "energy": result.energy,
        "revision": result.revision,
        "drift_y": float(result.drift[0]),
        "drift_x": float(result.drift[1]),
        "drift_sigma": result.drift_sigma,
        "strain_yy": yy,
        "strain_xx": xx,
        "strain_yx": yx,
        "strain_sigma": max(result.affine.strain_sigma),
        "rotation": result.affine.rotation,
        "rotation_sigma": result.affine.rotation_sigma,
        "magnification": result.magnification.value,
        "magnification_sigma": result.magnification.sigma,
        "gauge": result.gauge.name,
        "gauge_reason": result.gauge.reason,
        "n_particles": sum(bool(np.isfinite(p.area)) for p in result.particles),
        "status": str(result.status),
        "reason": result.reason,
        "latency": latency,
        **books,
        "aligned": aligned,
        "unaligned": unaligned,
    }


def particle_data(result: FrameResult, particle: ParticleResult) -> dict[str, Any]:
    """Fill one event of ``particles``."""
    rates = particle.rates
    return {
        "frame": result.frame,
        "energy": result.energy,
        "revision": result.revision,
        "particle": particle.particle,
        "state": particle.state,
        **_vector("", particle.yx),
        **_vector("sigma_", particle.sigma),
        **_vector("displacement_", particle.displacement),
        **_vector("velocity_", rates.velocity),
        **_vector("velocity_sigma_", rates.velocity_sigma),
        **_vector("acceleration_", rates.acceleration),
        **_vector("acceleration_sigma_", rates.acceleration_sigma),
        "path_length": particle.path,
        **_vector("residual_", particle.residual),
        "area": particle.area,
        "od_mean": particle.od_mean,
        "ssim": particle.ssim,
        "roi": particle.roi,
        "outline": particle.outline,
    }


def xanes_data(row: SpectrumRow | MapsRow) -> dict[str, Any]:
    """Fill one event of ``spectra`` or of ``maps``."""
    maps = (*_MAP_KEYS, *_ARRAYS["maps"])
    names = _SPECTRUM_KEYS if isinstance(row, SpectrumRow) else maps
    return {name: getattr(row, name) for name in names}


def _vector(prefix: str, yx: Any) -> dict[str, float]:
    return {f"{prefix}y": float(yx[0]), f"{prefix}x": float(yx[1])}
