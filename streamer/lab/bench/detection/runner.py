"""Every detector over the same frames of one regime."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from .....models.detector import DETECTORS, Detections, Detector, make_detector
from .....models.device import resolve_device
from .....models.settings import DetectSettings
from ....config import Settings
from ....errors import ConfigError
from ...evaluate.detection import DetectionScore, Judged, best_threshold, judge, score_detections
from .regimes import DetectionRegime
from .scenes import REASONS, DetectionScene, shots

Progress = Callable[[int, int], object]

# Detectors by name, and what one of them finds in one frame.


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


@dataclass(frozen=True, slots=True, kw_only=True)
class DetectorResult:
    """What one detector did in one regime.

    Attributes
    ----------
    score : at the pipeline's threshold, ``link.min_score``. best : at the threshold of the
        highest F1.
    found : (N,) bool, which of the required particles were found at the pipeline's threshold.
    spent : median time per frame, one frame at a time.
    """

    score: DetectionScore
    best: DetectionScore
    found: NDArray[np.bool_]
    spent: Spent

    def summary(self) -> dict[str, Any]:
        """Plain numbers, for JSON."""
        scores = {"score": self.score.summary(), "best": self.best.summary()}
        times = {"frame_ms": self.spent.clock, "cpu_ms": self.spent.processor}
        return {**scores, **times}


@dataclass(frozen=True, slots=True, kw_only=True)
class DetectionResult:
    """What was measured in one regime.

    Attributes
    ----------
    regime : which. seeds : of its samples. frames : how many.
    contrast : (N,) of the particles that were asked for, see `DetectionScene.contrast`.
    excused : how many were not, by `REASONS`; one may have several.
    detectors : by name.
    """

    regime: DetectionRegime
    seeds: tuple[int, ...]
    frames: int
    contrast: NDArray[np.float64]
    excused: Mapping[str, int]
    detectors: Mapping[str, DetectorResult]


@dataclass(slots=True)
class _Tally:
    """What one detector has done so far."""

    detector: Detector
    judged: list[Judged] = field(default_factory=list)
    found: list[NDArray[np.bool_]] = field(default_factory=list)
    times: list[Spent] = field(default_factory=list)

    def add(self, shot: DetectionScene, threshold: float) -> None:
        if not self.times:
            detect_one(self.detector, shot.od)  # what is set up at the first frame is not timed
        detections, spent = detect_one(self.detector, shot.od)
        judged = judge(detections, shot.labels, shot.yx, shot.required)
        sure = judged.truth[judged.score >= threshold]
        self.found.append(np.isin(np.flatnonzero(shot.required), sure))
        self.judged.append(judged)
        self.times.append(spent)

    def result(self, threshold: float) -> DetectorResult:
        return DetectorResult(
            score=score_detections(self.judged, threshold),
            best=score_detections(self.judged, best_threshold(self.judged)),
            found=np.concatenate(self.found),
            spent=Spent.median(self.times),
        )


def run_regime(
    regime: DetectionRegime,
    detectors: Sequence[str],
    settings: Settings,
    *,
    quick: bool = False,
    progress: Progress | None = None,
) -> DetectionResult:
    """Simulate a regime, and score each detector on all of its frames.

    Parameters
    ----------
    detectors : names, see `usable_detectors`.
    settings : of the processor; ``detect.kind`` is replaced by each name.
    quick : one sample at two energies.
    progress : is called with the samples that are done, and how many there are.
    """
    tell = progress or _no_progress
    detect = regime.detect(settings.detect)
    adapted = settings.model_copy(update={"detect": detect})
    tallies = {name: _Tally(detector_named(name, detect, settings)) for name in detectors}
    simulated = regime.simulated(quick=quick)
    contrast: list[NDArray[np.float64]] = []
    excused: Counter[str] = Counter()
    threshold = settings.link.min_score
    for done, sample in enumerate(simulated):
        tell(done, len(simulated))
        for shot in shots(sample, adapted):
            for tally in tallies.values():
                tally.add(shot, threshold)
            contrast.append(shot.contrast[shot.required])
            excused.update(shot.excused())
    tell(len(simulated), len(simulated))
    return DetectionResult(
        regime=regime,
        seeds=tuple(sample.seed for sample in simulated),
        frames=len(contrast),
        contrast=np.concatenate(contrast),
        excused={why: excused[why] for why in REASONS},
        detectors={name: tally.result(threshold) for name, tally in tallies.items()},
    )


def _no_progress(done: int, of: int) -> None:
    """Tell nobody."""
