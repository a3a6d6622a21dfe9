"""Results of frames as registration would give them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from operando.streamer.core.frames import FrameKey
from operando.streamer.core.register.deformation import IDENTITY, Magnification
from operando.streamer.core.register.drift import Gauge
from operando.streamer.core.register.particle import UNKNOWN
from operando.streamer.core.results import FrameResult, ParticleResult, Status, skipped

NAN = np.full(2, np.nan)
START = 1_700_000_000.0


def _key(frame):
    return FrameKey(run="run", stream="primary", data_key="image", seq_num=frame + 1)


def _particle(number, yx, state="tracked", area=np.pi * 100):
    return ParticleResult(
        particle=number,
        state=state,
        yx=np.array(yx, float),
        sigma=np.full(2, 0.05),
        displacement=np.zeros(2),
        rates=UNKNOWN,
        path=0.0,
        residual=np.zeros(2),
        area=area if state == "tracked" else float("nan"),
        od_mean=1.0,
        ssim=1.0,
        roi=np.zeros((4, 4), np.float32),
    )


def _frame(number, particles=(), *, drift=(0.0, 0.0), sigma=0.05, time=None, reason=""):
    """A frame, 4 s after the one before; `particles` are (identity, (y, x)[, state])."""
    return FrameResult(
        key=_key(number),
        frame=number,
        energy=8350.0,
        time=START + 4.0 * number if time is None else time,
        revision=0,
        status=Status.DEGRADED if reason else Status.ALIGNED,
        reason=reason,
        drift=np.array(drift, float),
        drift_sigma=sigma,
        gauge=Gauge(name="robust-mean"),
        affine=IDENTITY,
        magnification=Magnification(value=1.0, sigma=0.0, known=True),
        aligned=np.zeros((200, 300), np.float32),
        particles=tuple(_particle(*p) for p in particles),
    )


@pytest.fixture
def frame():
    return _frame


@pytest.fixture
def lost_frame():
    """A frame that was skipped for a reason."""
    return lambda number, reason="blank": skipped(
        _key(number), number, 8350.0, START + 4.0 * number, reason
    )


@pytest.fixture
def revised():
    """A later revision of a frame."""
    return lambda result: replace(result, revision=1)
