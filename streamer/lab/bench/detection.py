"""Every detector over the same simulated frames, whose true silhouettes are known."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from scipy.ndimage import uniform_filter

from ....models.arrays import Array
from ....models.detector import DETECTORS, Detections, Detector, make_detector
from ....models.device import resolve_device
from ....models.settings import DetectSettings
from ...config import Settings
from ...errors import ConfigError
from ..evaluate.detection import DetectionScore, Judged, best_threshold, judge, score_detections
from ..evaluate.similarity import od_stack
from ..simulate import SimSettings, Simulator, simulate_documents
from .harness import Progress, no_progress
from .regimes import DetectionRegime

LEAST_CONTRAST = 5.0
"""Contrast below which a particle is not asked for, in units of `contrast_noise`: what it takes to
be told from the noise of a whole frame (Rose 1948, doi:10.1364/JOSA.38.000196)."""
LEAST_VALID = 0.99
"""Share of a silhouette that must be valid pixels, else it counts as cut; by eye."""
REASONS = ("cut", "small", "faint")
"""Why a particle in the frame is not asked for."""
RULES = (
    "Particles are not asked for if they are cut by the rim of the frame, or by "
    f"invalid pixels ({1 - LEAST_VALID:.0%} of the silhouette or more); smaller (disc of equal "
    "area) than detect.min_diameter_px; or invisible: mean OD of the particle below "
    f"{LEAST_CONTRAST:g} times the rms contrast that the same frame without any particle shows "
    "near that place, at that size. What lies by half or more on such a particle is not counted."
)
_STEP = 1.2  # by eye: ratio of neighbouring sizes for which the noise is computed
_NEAR = 8.0  # by eye: side of the square over which noise is averaged, radii
_LEAST_SHARE = 0.5  # by eye: share of a square that must be valid to count


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
        """Return the median of each, over frames."""
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
    """Figures of one detector in one regime.

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
        """Return plain numbers, for JSON."""
        times = {"frame_ms": self.spent.clock, "cpu_ms": self.spent.processor}
        return {"score": self.score.summary(), "best": self.best.summary(), **times}


@dataclass(frozen=True, slots=True, kw_only=True)
class DetectionResult:
    """Figures of all detectors in one regime.

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
    """Results of one detector, frame by frame."""

    detector: Detector
    judged: list[Judged] = field(default_factory=list)
    found: list[NDArray[np.bool_]] = field(default_factory=list)
    times: list[Spent] = field(default_factory=list)

    def add(self, shot: DetectionScene, threshold: float) -> None:
        if not self.times:  # what is set up at the first frame is not timed
            detect_one(self.detector, shot.od)
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
    progress: Progress = no_progress,
) -> DetectionResult:
    """Simulate a regime, and score each detector on all of its frames.

    Parameters
    ----------
    detectors : names, see `usable_detectors`.
    settings : of the processor; ``detect.kind`` is replaced by each name.
    quick : one sample at two energies.
    progress : is called with the samples that are done, and how many there are.
    """
    detect = regime.detect(settings.detect)
    adapted = settings.model_copy(update={"detect": detect})
    tallies = {name: _Tally(detector_named(name, detect, settings)) for name in detectors}
    simulated = regime.simulated(quick=quick)
    contrast: list[NDArray[np.float64]] = []
    excused: Counter[str] = Counter()
    threshold = settings.link.min_score
    for done, sample in enumerate(simulated):
        progress(regime.name, done, len(simulated))
        for shot in shots(sample, adapted):
            for tally in tallies.values():
                tally.add(shot, threshold)
            contrast.append(shot.contrast[shot.required])
            excused.update(shot.excused())
    progress(regime.name, len(simulated), len(simulated))
    return DetectionResult(
        regime=regime,
        seeds=tuple(sample.seed for sample in simulated),
        frames=len(contrast),
        contrast=np.concatenate(contrast),
        excused={why: excused[why] for why in REASONS},
        detectors={name: tally.result(threshold) for name, tally in tallies.items()},
    )


# Frames with their true silhouettes, and which of these a detector has to find.


@dataclass(frozen=True, slots=True, kw_only=True)
class DetectionScene:
    """One frame and its T true particles.

    Attributes
    ----------
    seed, energy : of the simulation, eV.
    od : (H, W) float32 optical density, NaN where invalid.
    labels : (H, W) int32, ``i + 1`` where the silhouette of truth ``i`` is.
    yx : (T, 2) true centres of mass, px.
    present : (T,) bool, it is in the frame, at least partly.
    cut, small, faint : (T,) bool, why it is not asked for.
    contrast : (T,) mean OD over `contrast_noise`, 1.
    """

    seed: int
    energy: float
    od: NDArray[np.float32]
    labels: NDArray[np.int32]
    yx: NDArray[np.float64]
    present: NDArray[np.bool_]
    cut: NDArray[np.bool_]
    small: NDArray[np.bool_]
    faint: NDArray[np.bool_]
    contrast: NDArray[np.float64]

    @property
    def required(self) -> NDArray[np.bool_]:
        """Return which of the T particles a detector has to find, bool."""
        return self.present & ~(self.cut | self.small | self.faint)

    def excused(self) -> dict[str, int]:
        """Count those in the frame that are not asked for, by `REASONS`."""
        return {why: int((getattr(self, why) & self.present).sum()) for why in REASONS}


def shots(simulated: SimSettings, settings: Settings) -> Iterator[DetectionScene]:
    """Simulate one sample, correct its frames as the processor does, and look up the truth.

    Parameters
    ----------
    simulated : of the microscope. settings : `assemble`, `correct`, and the least diameter.
    """
    simulator = Simulator(simulated)
    frames = od_stack(simulate_documents(order="flat_first", simulator=simulator), settings)
    nothing = {"n_particles": 0, "births": 0, "departures": 0, "hidden": 0}
    # the seeds of light, background and camera do not depend on the particles
    alike = Simulator(simulated.model_copy(update=nothing))
    empty = od_stack(simulate_documents(order="flat_first", simulator=alike), settings)
    for frame, (od, without) in enumerate(zip(frames, empty, strict=True)):
        yield _shot(simulator, frame, od, without, settings.detect.min_diameter_px)


def _shot(
    simulator: Simulator,
    frame: int,
    od: NDArray[np.float32],
    empty: NDArray[np.float32],
    least: float,
) -> DetectionScene:
    truth = simulator.truth
    labels, valid = _silhouettes(simulator, frame, np.isfinite(od))
    contrast = truth.od[frame] / contrast_noise(empty, truth.yx[frame], truth.radius)
    return DetectionScene(
        seed=simulator.settings.seed,
        energy=float(truth.energies[frame]),
        od=od,
        labels=labels,
        yx=truth.yx[frame],
        present=truth.visible[frame],
        cut=truth.cut[frame] | (valid < LEAST_VALID),
        small=2 * truth.radius < least,
        faint=~(contrast >= LEAST_CONTRAST),  # also where nothing is known of the noise
        contrast=contrast,
    )


def _silhouettes(
    simulator: Simulator, frame: int, usable: NDArray[np.bool_]
) -> tuple[NDArray[np.int32], NDArray[np.float64]]:
    """Paint labels (H, W), and tell the share of each silhouette that is usable, (T,).

    Where two overlap by a pixel, as touching ones do, it belongs to the smaller.
    """
    truth = simulator.truth
    labels = np.zeros(usable.shape, np.int32)
    valid = np.zeros(truth.n_particles)
    for particle in np.argsort(-truth.radius):
        mask = simulator.mask(frame, int(particle))
        labels[mask] = particle + 1
        valid[particle] = usable[mask].mean() if mask.any() else 0.0
    return labels, valid


# What an empty frame shows where a particle could be: the limit of detection.


def contrast_noise(empty: NDArray[np.float32], yx: ArrayLike, radii: ArrayLike) -> Array:
    """Measure the rms of the contrast where no particle is, (T,) OD.

    Contrast is the mean over a square of the area of the particle minus the mean over a frame of
    the same area around it; its rms is taken near the place of the particle. Both the shot noise
    and the structure of the background are in it, as both can be mistaken for a particle.

    Parameters
    ----------
    empty : (H, W) optical density of the same frame without any particle, NaN where invalid.
    yx : (T, 2) px. radii : (T,) equal-area radii, px.

    Returns
    -------
    (T,) float64; NaN where next to nothing is valid.
    """
    yx, radii = np.asarray(yx, np.float64).reshape(-1, 2), np.asarray(radii, np.float64)
    last = np.array(empty.shape) - 1
    at = np.clip(np.rint(yx), 0, last).astype(np.int64)
    sizes = np.rint(np.log(radii) / np.log(_STEP))
    noise = np.empty(len(radii))
    for size in np.unique(sizes):
        chosen = sizes == size
        rms = _rms_near(empty, _STEP**size)
        noise[chosen] = rms[tuple(at[chosen].T)]
    return noise


def _rms_near(empty: NDArray[np.float32], radius: float) -> Array:
    """Measure it for squares of this equal-area radius near each pixel, (H, W)."""
    valid = np.isfinite(empty).astype(np.float64)
    filled = np.nan_to_num(empty.astype(np.float64))
    side = np.sqrt(np.pi) * radius
    inner, outer = (max(round(k * side), n) for k, n in ((1.0, 2), (np.sqrt(2.0), 3)))
    total, weight = (_box_sum(image, inner) for image in (filled, valid))
    wide, wide_weight = (_box_sum(image, outer) for image in (filled, valid))
    ring = wide_weight - weight
    enough = _LEAST_SHARE * inner**2, _LEAST_SHARE * (outer**2 - inner**2)
    usable = (weight >= enough[0]) & (ring >= enough[1])
    contrast = total / np.maximum(weight, 1) - (wide - total) / np.maximum(ring, 1)
    near = round(_NEAR * radius)
    count = _box_sum(usable.astype(np.float64), near)
    square = _box_sum(np.where(usable, contrast**2, 0.0), near)
    # running sums leave a rounding error where there is nothing
    return np.where(count > 0.5, np.sqrt(np.maximum(square, 0) / np.maximum(count, 1)), np.nan)


def _box_sum(image: Array, side: int) -> Array:
    """Sum over squares; nothing is beyond the frame."""
    return uniform_filter(image, side, mode="constant") * side**2
