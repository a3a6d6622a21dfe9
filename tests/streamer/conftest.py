"""Stock parts of a beamline: a 0MQ proxy as a process of its own, a RunEngine; drawn frames."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from bluesky import RunEngine
from scipy.special import erf

from operando.models.detector import Detections
from operando.streamer.core.frames import FrameKey, OpticalDensityFrame
from operando.streamer.core.register.images import prepare

PROXY = """
from bluesky.callbacks.zmq import Proxy
proxy = Proxy("127.0.0.1", "127.0.0.1")
print(proxy.in_port, proxy.out_port, flush=True)
proxy.start()
"""


@pytest.fixture(scope="module")
def stock_proxy() -> Iterator[tuple[str, str]]:
    """Return the in and the out address of a running bluesky 0MQ proxy."""
    with subprocess.Popen([sys.executable, "-c", PROXY], stdout=subprocess.PIPE, text=True) as proc:
        assert proc.stdout is not None
        try:
            proxy_in, proxy_out = proc.stdout.readline().split()
            yield proxy_in, proxy_out
        finally:
            proc.kill()


@pytest.fixture
def run_engine() -> Iterator[RunEngine]:
    """Return a RunEngine whose event loop is closed afterwards, which bluesky itself never does."""
    engine = RunEngine({}, call_returns_result=False)
    yield engine
    engine.loop.call_soon_threadsafe(engine.loop.stop)
    engine._th.join()
    engine.loop.close()


@dataclass(frozen=True)
class Bodies:
    """A drawn frame, as the core sees it."""

    corrected: OpticalDensityFrame
    detections: Detections

    @property
    def image(self) -> torch.Tensor:
        """(1, 1, H, W) float32, NaN where invalid."""
        return prepare(self.corrected.od, self.corrected.valid, torch.device("cpu"))


def _body(yx, radius, shape):
    """Optical density of a body of three lobes behind optics, 1 inside."""
    y, x = np.indices(shape).astype(float)
    dy, dx = y - yx[0], x - yx[1]
    contour = radius * (1 + 0.1 * np.cos(3 * np.arctan2(dy, dx) + 1))
    return 0.5 * (1 - erf((np.hypot(dy, dx) - contour) / (np.sqrt(2) * 1.2)))


def _detections(masks, contrast):
    shape, rows = masks[0].shape if masks else (0, 0), [np.nonzero(m) for m in masks]
    n, labels = len(masks), np.zeros(shape, np.int32)
    for row, mask in enumerate(masks):
        labels[mask] = row + 1
    boxes = [[y.min(), x.min(), y.max() + 1, x.max() + 1] for y, x in rows]
    bbox = np.array(boxes, dtype=np.int64).reshape(n, 4)
    return Detections(
        labels=labels,
        yx=np.array([[y.mean(), x.mean()] for y, x in rows], dtype=float).reshape(n, 2),
        area=np.array([len(y) for y, _ in rows], dtype=float),
        moments=np.array(
            [[y.var(), x.var(), np.cov(y, x)[0, 1]] for y, x in rows], dtype=float
        ).reshape(n, 3),
        bbox=bbox,
        contrast=np.array(contrast, dtype=float),
        score=np.ones(n),
        cut=(bbox[:, :2] == 0).any(axis=1) | (bbox[:, 2:] == shape).any(axis=1),
    )


def _draw(
    centres, radii, gains=None, *, detected=None, noise=0.02, seed=0, frame=0, shape=(150, 170)
):
    """Bodies on a plane in white noise; `detected` are the rows that have a mask."""
    gains = [1.0] * len(radii) if gains is None else gains
    detected = range(len(radii)) if detected is None else detected
    bodies = [_body(yx, r, shape) for yx, r in zip(centres, radii, strict=True)]
    y, x = np.indices(shape)
    od = 0.2 + 0.001 * y - 0.0005 * x + noise * np.random.default_rng(seed).normal(size=shape)
    od += sum(g * b for g, b in zip(gains, bodies, strict=True))
    return Bodies(
        OpticalDensityFrame(
            key=FrameKey(run="run", stream="primary", data_key="image", seq_num=frame + 1),
            frame=frame,
            energy=8300.0 + frame,
            time=float(frame),
            od=od.astype(np.float32),
            valid=np.ones(shape, bool),
            sigma=noise,
            revision=0,
            provisional=False,
            final=True,
        ),
        _detections([bodies[i] > 0.5 for i in detected], [gains[i] for i in detected]),
    )


@pytest.fixture(scope="session")
def draw():
    """Draw a frame of bodies, ``draw(centres, radii, gains, ...)``, with its detections."""
    return _draw
