"""Results as Bluesky documents: the output contract.

The functions are pure: uids are derived from the raw run and the settings, and every time is data
time, so that live, replayed and in-process results are equal bit for bit (but for ``latency``).
"""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from .advice import ADVICE_KEYS
from .frames import Document, NamedDocument
from .register.images import unaligned_shape
from .register.settings import DIRECTIONS
from .results import FrameResult, ParticleResult
from .xanes.state import MapsRow, SpectrumRow

CARRIED = ("sample", "data_session", "proposal", "cycle", "tiled_access_tags")

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

_HINTS = {
    "frames": ["drift_y", "drift_x", "n_particles"],
    "particles": ["y", "x"],
    "spectra": ["od", "fraction"],
    "maps": ["n_energies"],
    "advice": ["move_y", "move_x"],
}

_NUMPY_TYPES = {"integer": "<i8", "number": "<f8", "string": "<U64", "boolean": "|b1"}

_LONGER = {"message": "<U256"}


@dataclass(frozen=True, slots=True, kw_only=True)
class ResultRun:
    """Identity of a result run, and how many events each stream has had.

    Attributes
    ----------
    uid : uuid5 of the raw run's uid and the hash of the settings.
    descriptors : uid of the descriptor of each stream that has begun.
    counts : events emitted of each stream.
    """

    uid: str
    raw: str
    descriptors: Mapping[str, str]
    counts: Mapping[str, int]


def result_uid(raw: str, config_sha256: str) -> str:
    """Uid of the result run of a raw run under given settings: a replay is the same run."""
    return str(uuid.uuid5(uuid.NAMESPACE_URL, f"operando:{raw}:{config_sha256}"))


def derived_uid(*parts: object) -> str:
    """A uid that is a function of its parts."""
    digest = hashlib.sha256("\x1f".join(map(str, parts)).encode()).digest()
    return str(uuid.UUID(bytes=digest[:16], version=4))


def start_document(raw: Document, provenance: Mapping[str, Any]) -> tuple[ResultRun, NamedDocument]:
    """Open the result run of a raw run.

    Parameters
    ----------
    raw : start document of the raw run.
    provenance : version, profile, device, detector, weights_sha256, config_sha256.
    """
    uid = result_uid(raw["uid"], str(provenance["config_sha256"]))
    doc: Document = {key: raw[key] for key in CARRIED if key in raw}
    doc.update(
        uid=uid,
        time=raw["time"],
        original_run_uid=raw["uid"],
        purpose="processed",
        plan_name="operando",
        plan_type="generator",
        sample=raw.get("sample", raw.get("sample_name", "")),
        operando=dict(provenance),
        hints={"dimensions": [(["frame"], "frames")]},
    )
    if "scan_id" in raw:
        doc["scan_id"] = raw["scan_id"]
    return ResultRun(uid=uid, raw=raw["uid"], descriptors={}, counts={}), ("start", doc)


def descriptor_document(
    run: ResultRun, stream: str, image: tuple[int, int], time: float
) -> tuple[ResultRun, NamedDocument]:
    """Open a stream: ``frames``, ``particles``, ``spectra``, ``maps`` or ``advice``.

    Parameters
    ----------
    image : shape of its images: of aligned frames, of ROIs, of maps.
    """
    scalars = {
        "frames": _FRAME_KEYS,
        "particles": _PARTICLE_KEYS,
        "spectra": _SPECTRUM_KEYS,
        "maps": _MAP_KEYS,
        "advice": ADVICE_KEYS,
    }[stream]
    source = f"operando:{run.raw}"
    keys: dict[str, dict[str, Any]] = {
        name: {
            "source": source,
            "dtype": dtype,
            "dtype_numpy": _LONGER.get(name, _NUMPY_TYPES[dtype]),
            "shape": [],
            "units": units,
            "object_name": "operando",
        }
        for name, (dtype, units) in scalars.items()
    }
    for array, units in _ARRAYS.get(stream, {}).items():
        keys[array] = {
            "source": source,
            "dtype": "array",
            "dtype_numpy": "<f4",
            "shape": list(_array_shape(array, image)),
            "units": units,
            "object_name": "operando",
        }
    uid = derived_uid(run.uid, stream)
    doc: Document = {
        "uid": uid,
        "run_start": run.uid,
        "name": stream,
        "time": time,
        "data_keys": keys,
        "object_keys": {"operando": list(keys)},
        "configuration": {"operando": {"data": {}, "timestamps": {}, "data_keys": {}}},
        "hints": {"operando": {"fields": _HINTS[stream]}},
    }
    after = ResultRun(
        uid=run.uid,
        raw=run.raw,
        descriptors={**run.descriptors, stream: uid},
        counts={**run.counts, stream: 0},
    )
    return after, ("descriptor", doc)


def _array_shape(array: str, image: tuple[int, int]) -> tuple[int, ...]:
    if array == "unaligned":
        return unaligned_shape(image)
    return (DIRECTIONS,) if array == "outline" else image


def event_document(
    run: ResultRun, stream: str, data: dict[str, Any], time: float
) -> tuple[ResultRun, NamedDocument]:
    """One event of a stream that has been opened; `time` is data time, s."""
    number = run.counts[stream] + 1
    doc: Document = {
        "uid": derived_uid(run.uid, stream, number),
        "descriptor": run.descriptors[stream],
        "seq_num": number,
        "time": time,
        "data": data,
        "timestamps": dict.fromkeys(data, time),
        "filled": {},
    }
    after = ResultRun(
        uid=run.uid,
        raw=run.raw,
        descriptors=run.descriptors,
        counts={**run.counts, stream: number},
    )
    return after, ("event", doc)


def stop_document(
    run: ResultRun, raw: Document | None, ledger: Mapping[str, Any], time: float
) -> NamedDocument:
    """Close the result run; `raw` is the raw run's stop, None if it never came."""
    return "stop", {
        "uid": derived_uid(run.uid, "stop"),
        "run_start": run.uid,
        "time": time,
        "exit_status": raw.get("exit_status", "success") if raw else "fail",
        "reason": raw.get("reason", "") if raw else "the raw run ended without a stop document",
        "num_events": dict(run.counts),
        "ledger": dict(ledger),
    }


def frame_data(
    result: FrameResult, shape: tuple[int, int], latency: float, books: Mapping[str, int]
) -> dict[str, Any]:
    """Data of one event of ``frames``; a skipped frame has an aligned image of NaN.

    `books` are those of the ledger (`Ledger.live`) when the frame had its turn.
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
    """Data of one event of ``particles``."""
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


def spectrum_data(row: SpectrumRow) -> dict[str, Any]:
    """Data of one event of ``spectra``."""
    return {name: getattr(row, name) for name in _SPECTRUM_KEYS}


def map_data(row: MapsRow) -> dict[str, Any]:
    """Data of one event of ``maps``."""
    return {name: getattr(row, name) for name in (*_MAP_KEYS, *_ARRAYS["maps"])}


def _vector(prefix: str, yx: Any) -> dict[str, float]:
    return {f"{prefix}y": float(yx[0]), f"{prefix}x": float(yx[1])}
