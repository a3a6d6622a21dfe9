"""Result documents as the output contract has them, made with event_model."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from typing import Any

import event_model
import numpy as np
import pytest

FRAME_KEYS = {
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
    "rotation": ("number", "rad"),
    "n_particles": ("integer", ""),
    "status": ("string", ""),
    "reason": ("string", ""),
    "latency": ("number", "s"),
}
# fmt: off
PARTICLE_NUMBERS = [
    "y", "x", "sigma_y", "sigma_x", "displacement_y", "displacement_x", "velocity_y",
    "velocity_x", "acceleration_y", "acceleration_x", "path_length", "residual_y",
    "residual_x", "area", "od_mean", "ssim",
]
# fmt: on
PARTICLE_KEYS = {
    "frame": ("integer", ""),
    "energy": ("number", "eV"),
    "revision": ("integer", ""),
    "particle": ("integer", ""),
    "state": ("string", ""),
    **dict.fromkeys(PARTICLE_NUMBERS, ("number", "px")),
}
NUMPY = {"integer": "<i8", "number": "<f8", "string": "<U16"}

Documents = list[tuple[str, dict[str, Any]]]


def data_keys(
    scalars: dict[str, tuple[str, str]], array: str, shape: tuple[int, ...]
) -> dict[str, Any]:
    keys: dict[str, Any] = {
        name: {
            "source": "operando",
            "dtype": dtype,
            "dtype_numpy": NUMPY[dtype],
            "shape": [],
            "units": units,
        }
        for name, (dtype, units) in scalars.items()
    }
    keys[array] = {
        "source": "operando",
        "dtype": "array",
        "dtype_numpy": "<f4",
        "shape": list(shape),
        "units": "OD",
    }
    return keys


def frame_data(rng: np.random.Generator, i: int, particles: int, shape: tuple[int, int]) -> dict:
    data = {name: float(rng.normal()) for name in FRAME_KEYS}
    data |= {"frame": i, "raw_seq_num": i + 1, "revision": 0, "n_particles": particles}
    data |= {"energy": 8300.0 + i, "latency": float(np.random.default_rng().random())}
    data |= {"status": "degraded" if i % 4 == 3 else "aligned", "reason": ""}
    return {**data, "aligned": rng.random(shape, dtype=np.float32)}


def particle_data(rng: np.random.Generator, i: int, j: int, side: int) -> dict:
    data = {name: float(rng.normal()) for name in PARTICLE_NUMBERS}
    data |= {"frame": i, "energy": 8300.0 + i, "revision": 0, "particle": j}
    data |= {"state": "tracked" if i else "tentative"}
    return {**data, "roi": rng.random((side, side), dtype=np.float32)}


def compose(
    frames: int = 4,
    *,
    particles: int = 3,
    shape: tuple[int, int] = (20, 24),
    side: int = 8,
    uid: str | None = None,
    seed: int = 0,
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Documents of one result run; equal for equal arguments, but for `latency` and uids."""
    rng = np.random.default_rng(seed)
    run = event_model.compose_run(
        uid=uid or str(uuid.uuid4()),
        time=1000.0,
        metadata={
            "original_run_uid": "raw",
            "purpose": "processed",
            "plan_name": "operando",
            "sample": "NMC",
            "operando": {"version": "0", "profile": "test"},
        },
    )
    yield "start", dict(run.start_doc)
    stream_f = run.compose_descriptor(
        name="frames", data_keys=data_keys(FRAME_KEYS, "aligned", shape)
    )
    stream_p = run.compose_descriptor(
        name="particles", data_keys=data_keys(PARTICLE_KEYS, "roi", (side, side))
    )
    yield "descriptor", dict(stream_f.descriptor_doc)
    yield "descriptor", dict(stream_p.descriptor_doc)
    for i in range(frames):
        for stream, data in (
            *((stream_p, particle_data(rng, i, j, side)) for j in range(particles)),
            (stream_f, frame_data(rng, i, particles, shape)),
        ):
            time = 1000.0 + i
            stamps = dict.fromkeys(data, time)
            yield "event", dict(stream.compose_event(data=data, timestamps=stamps, time=time))
    stop = run.compose_stop(exit_status="success", reason="", time=2000.0)
    yield "stop", {**stop, "ledger": {"received": frames}}


@pytest.fixture
def documents() -> Callable[..., Documents]:
    """Make the documents of a result run: ``documents(frames, particles=, uid=, seed=...)``."""
    return lambda *args, **kwargs: list(compose(*args, **kwargs))
