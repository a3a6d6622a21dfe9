"""Detectors by name, and what one of them finds in one frame."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from ....models.detections import Detections
from ....models.detector import DETECTORS, Detector, make_detector
from ....models.device import resolve_device
from ....models.settings import DetectSettings
from ...config import Settings
from ...errors import ConfigError


def usable_detectors(
    names: Sequence[str], settings: Settings
) -> tuple[tuple[str, ...], dict[str, str]]:
    """Tell which detectors can be made, and why others cannot.

    Parameters
    ----------
    names : keys of `DETECTORS` or import strings, all of which have to be there; all of
        `DETECTORS` if empty, of which some may not (weights that are not installed).
    settings : ``detect`` but for its kind, and the device.

    Raises
    ------
    ConfigError
        If a name that was given cannot be made.
    """
    able: list[str] = []
    reasons: dict[str, str] = {}
    for name in names or DETECTORS:
        try:
            detector_named(name, settings.detect, settings)
        except (ValueError, OSError, RuntimeError) as error:
            if names:
                raise ConfigError(f"detector {name!r} cannot be made: {error}") from error
            reasons[name] = f"{type(error).__name__}: {error}"
        else:
            able.append(name)
    return tuple(able), reasons


def detector_named(name: str, detect: DetectSettings, settings: Settings) -> Detector:
    """Make the detector `name` with everything else as in `detect`, on the device of `settings`."""
    chosen = detect.model_copy(update={"kind": name})
    return make_detector(chosen, resolve_device(settings.process.device))


@dataclass(frozen=True, slots=True, kw_only=True)
class Spent:
    """Time of one frame, ms: on the clock, and of the processor in all threads.

    On a machine that has other things to do the clock also counts what those take.
    """

    clock: float
    processor: float

    @classmethod
    def median(cls, times: Sequence[Spent]) -> Spent:
        """Median of each, over frames."""
        return cls(
            clock=float(np.median([one.clock for one in times])),
            processor=float(np.median([one.processor for one in times])),
        )


def detect_one(detector: Detector, od: NDArray[np.float32]) -> tuple[Detections, Spent]:
    """Detect in one frame (H, W) of optical density, NaN where invalid; and the time it took."""
    valid = np.isfinite(od)
    image = torch.from_numpy(np.where(valid, od, np.float32(0)))[None, None]
    usable = torch.from_numpy(valid)[None, None]
    start = time.perf_counter(), time.process_time()
    (found,) = detector.detect(image, usable)
    end = time.perf_counter(), time.process_time()
    return found, Spent(clock=1e3 * (end[0] - start[0]), processor=1e3 * (end[1] - start[1]))
