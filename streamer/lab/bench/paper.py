"""The comparison of Su et al. 2024, repeated: ways of ours, peers and the oracle on one set."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ....callbacks.processor.processor import StreamProcessor
from ....models.arrays import Array
from ....models.ssim import ssim
from ...config import Settings, load_settings
from ...errors import ConfigError
from ..evaluate.similarity import adjacent_ssim, compare_maps, compare_ssim, sides_of, windows
from ..simulate import SimSettings, Simulator
from .estimates import Estimate, our_estimate, peer_estimate, rms, trajectories, true_paths
from .harness import Column, Progress, machine, no_progress, process, tracked
from .paper_set import (
    SPEED_FRAMES,
    Images,
    Series,
    documents_of,
    make_series,
    peak_ratio,
    typical,
)
from .paper_speed import NOT_MEASURED, cost_per_frame, measure_speed, on_cuda, throughputs
from .peers import Peer

ORACLE = "oracle (true positions)"
COLUMNS = (
    Column("ssim_one", "SSIM*", ".4f", "mean SSIM of adjacent aligned ROIs of the particle shown"),
    Column("var_one", "var*", ".1e", "variance of the same"),
    Column("clean_ssim_one", "clean*", ".4f", "SSIM* on the frames without noise"),
    Column("clean_var_one", "clean var*", ".1e", "variance of the same"),
    Column("far_one", "far*", ".4f", "clean, above the edge, with the last frame, not the next"),
    Column("ssim", "SSIM", ".4f", "mean over all pairs of all particles"),
    Column("clean_ssim", "clean", ".4f", "SSIM on the frames without noise"),
    Column("clean_worst", "worst", ".4f", "least mean of a particle, without noise"),
    Column("far", "far", ".4f", "the same of all particles"),
    Column("clean_oracle", "oracle", ".4f", "clean, for the same pairs aligned by the truth"),
    Column("residual", "residual", ".3f", "differential map: rms on the rim over that inside"),
    Column("clean_residual", "clean res", ".3f", "the same on the frames without noise"),
    Column("rms_one", "rms*", ".3f", "position error of the particle shown, px"),
    Column("rms", "rms", ".3f", "position error of all particles, px"),
    Column("p95", "p95", ".3f", "95 % of the same errors are smaller, px"),
    Column("rms_live", "rms live", ".3f", "rms of the positions as they were told at once, px"),
    Column("recall", "recall", ".3f", "share of instances within half a radius of their particle"),
    Column("switches", "switches", ".0f", "changes of the identity that explains a particle"),
    Column("seconds", "s/100", ".2f", "wall time for 100 frames with nine particles, s"),
    Column("processor", "CPU s", ".2f", "processor time of the same, s"),
    Column("stop", "stop s", ".2f", "time of the second look at these 100 frames, s"),
    Column("median", "ms/frame", ".1f", "median time from a frame's document to its results, ms"),
    Column("gflop", "GFLOP", ".2f", "convolutions and matrix products per frame"),
    Column("gigabytes", "GB", ".3f", "read and written by torch per frame, unfused"),
)
NOT_IN_TERMINAL = frozenset(
    ("clean_var_one", "clean_worst", "clean_oracle", "residual", "clean_residual", "switches")
) | {"stop", "gflop", "gigabytes"}
_CENTRE_OF_MASS = {"refine": False, "whole_scan": False}


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """One way to set the processor.

    Attributes
    ----------
    name : in table and figure. overrides : of the settings of the profile.
    """

    name: str
    overrides: Mapping[str, Any]

    def settings(self, profile: str, process: Mapping[str, Any]) -> Settings:
        """Load settings of the processor from a profile; `process` overrides that section."""
        return load_settings(profile, {**self.overrides, "process": process})


WAYS = (
    Way(
        # the path of the paper, with our weights
        name="ours, as published",
        overrides={
            "detect": {"kind": "networks"},
            "link": {"kind": "ssim"},
            "registration": _CENTRE_OF_MASS,
        },
    ),
    Way(name="ours, networks", overrides={"detect": {"kind": "networks"}}),
    Way(name="ours, classical", overrides={"detect": {"kind": "threshold"}}),
    Way(
        name="ours, classical, centre of mass",
        overrides={"detect": {"kind": "threshold"}, "registration": _CENTRE_OF_MASS},
    ),
)


def usable_ways(
    profile: str, overrides: Mapping[str, Any]
) -> tuple[dict[str, Settings], dict[str, str]]:
    """Load the settings of the ways that can run, and tell why the others cannot.

    Raises
    ------
    ConfigError
        If none can.
    """
    settings = {way.name: way.settings(profile, overrides) for way in WAYS}
    left_out = {name: why for name, one in settings.items() if (why := missing(one))}
    if len(left_out) == len(settings):
        raise ConfigError(next(iter(left_out.values())))
    return {name: one for name, one in settings.items() if name not in left_out}, left_out


def missing(settings: Settings) -> str:
    """Tell why a processor cannot be made with these settings, e.g. weights; "" if it can."""
    try:
        StreamProcessor(settings).close()
    except ConfigError as error:
        return str(error)
    return ""


@dataclass(frozen=True, slots=True, kw_only=True)
class MethodFigures:
    """One method, measured.

    Attributes
    ----------
    figures : by the keys of the columns; NaN where there is nothing to tell.
    paths : (F, P, 2) px, NaN where a particle was not followed.
    pairs, clean : (F - 1, P) SSIM of adjacent aligned ROIs as measured, and without noise.
    """

    figures: Mapping[str, float]
    paths: Array
    pairs: Images
    clean: Images


@dataclass(frozen=True, slots=True, kw_only=True)
class PaperResult:
    """Figures of all methods.

    Attributes
    ----------
    series : the frames. particle : the one that is told by itself.
    ratio : peak motion of the others over that of the rigid particle, (y, x).
    measured : by method; ours, then the peers, then the oracle.
    figures : by method, those of `measured` with those of time.
    left_out : why a method has none, by method. notes : on time and devices.
    """

    series: Series
    particle: int
    ratio: tuple[float, float]
    measured: dict[str, MethodFigures] = field(default_factory=dict)
    figures: dict[str, dict[str, float]] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


@dataclass(slots=True)
class _Steps:
    """Progress in steps of equal length."""

    progress: Progress
    steps: int
    begun: int = -1

    def step(self, what: str) -> Progress:
        """Begin the next step; returns its own progress."""
        self.begun += 1
        begun = self.begun
        self.progress(what, begun, self.steps)
        return lambda _, done, of: self.progress(what, begun + min(done / of, 1.0), self.steps)


def run_paper(
    simulated: SimSettings,
    ways: Mapping[str, Settings],
    peers: Mapping[str, Peer],
    left_out: Mapping[str, str] | None = None,
    progress: Progress = no_progress,
    speed_frames: int = SPEED_FRAMES,
) -> PaperResult:
    """Compare all methods on one synthetic set.

    Parameters
    ----------
    simulated : the set. ways : settings of ours by name, at least one. peers : by name.
    left_out : ways that cannot run, with the reason.
    speed_frames : frames of the run that is timed; 0 to leave the clock alone.
    """
    steps = _Steps(progress, 2 + 2 * len(ways) + len(peers))
    series = make_series(simulated, next(iter(ways.values())), steps.step("simulating"))
    result = PaperResult(
        series=series,
        particle=typical(series.truth),
        ratio=peak_ratio(series.truth),
        left_out=dict(left_out or {}),
    )
    for estimate, live in _estimates(series, ways, peers, steps):
        if estimate.failure:
            result.left_out[estimate.name] = estimate.failure
            continue
        found = measure(estimate, series, result.particle)
        first = float("nan") if live is None else rms(trajectories(live, series.truth).errors)
        per_100 = estimate.seconds * SPEED_FRAMES / series.truth.n_frames
        result.measured[estimate.name] = found
        result.figures[estimate.name] = {**found.figures, "rms_live": first, "seconds": per_100}
    result.measured[ORACLE] = oracle(series, result.particle)
    result.figures[ORACLE] = dict(result.measured[ORACLE].figures)
    if speed_frames:
        timed = simulated.model_copy(update={"n_energies": speed_frames})
        _add_times(result, timed, ways, steps)
    progress("done", steps.steps, steps.steps)
    return result


def _estimates(
    series: Series, ways: Mapping[str, Settings], peers: Mapping[str, Peer], steps: _Steps
) -> Iterator[tuple[Estimate, Estimate | None]]:
    """Yield the positions of every method; of ours also those that were told at once."""
    for name, settings in ways.items():
        documents = tracked(series.documents, steps.step(name), name, len(series.documents))
        rows = process(documents, settings).table("particles")
        yield our_estimate(name, rows, "highest"), our_estimate(name, rows, "first")
    for name, track in peers.items():
        steps.step(name)
        yield peer_estimate(name, track, series.od, series.truth), None


def _add_times(
    result: PaperResult, timed: SimSettings, ways: Mapping[str, Settings], steps: _Steps
) -> None:
    """Add the figures of time to those of ours."""
    step = steps.step("simulating for the clock")
    documents = documents_of(Simulator(timed), step, 1 + 2 * timed.n_frames)
    for name, settings in ways.items():
        where = machine(settings.process.device, settings.process.thread_count)
        speed = measure_speed(documents, settings, progress=steps.step(f"{name}: time"))
        cost = cost_per_frame(documents, settings)
        result.figures[name] |= {
            "seconds": speed.seconds * SPEED_FRAMES / speed.frames,
            "processor": speed.processor * SPEED_FRAMES / speed.frames,
            "stop": speed.stop,
            "median": 1e3 * speed.median,
            "gflop": cost.flops / 1e9,
            "gigabytes": cost.bytes / 1e9,
        }
        result.notes.append(
            f"time of {name}: {speed.frames} frames in {speed.seconds:.2f} s "
            f"({speed.processor:.2f} s of processors), {speed.particles:.0f} particles, on {where}"
        )
        lines = [f"CUDA, {name}: {line}" for line in throughputs(settings, timed.seed)]
        result.notes.extend(lines)
    if not any(on_cuda(settings) for settings in ways.values()):
        result.notes.append(f"frames per second on a GPU, at 460 and 2048 px: {NOT_MEASURED}")


# The figures of the paper, and those it lacks, of one method.


def measure(estimate: Estimate, series: Series, particle: int) -> MethodFigures:
    """Compare positions with the truth of a series; one particle is also told by itself."""
    found = trajectories(estimate, series.truth)
    pairs, clean = (
        adjacent_ssim(images, found.inside, series.truth.radius)
        for images in (series.od, series.clean)
    )
    distances = np.linalg.norm(found.errors, axis=2)
    known = distances[np.isfinite(distances)]
    errors = {
        "rms": rms(found.errors),
        "p95": float(np.percentile(known, 95)) if known.size else float("nan"),
        "rms_one": rms(found.errors[:, particle]),
        "recall": found.score.recall,
        "switches": float(found.score.switches),
    }
    alike = _alikeness(series, found.inside, pairs, clean, particle)
    return MethodFigures(figures={**alike, **errors}, paths=found.paths, pairs=pairs, clean=clean)


def oracle(series: Series, particle: int) -> MethodFigures:
    """Work out what the true positions give."""
    yx = true_paths(series.truth)
    alike = _alikeness(series, yx, series.oracle, series.oracle_clean, particle)
    errors = {"rms": 0.0, "p95": 0.0, "rms_one": 0.0, "recall": 1.0, "switches": 0.0}
    return MethodFigures(
        figures={**alike, **errors}, paths=yx, pairs=series.oracle, clean=series.oracle_clean
    )


def _alikeness(
    series: Series, yx: Array, pairs: Images, clean: Images, particle: int
) -> dict[str, float]:
    """Measure how alike the aligned pictures are."""
    truth = series.truth
    without_noise = similarity(clean, series.oracle_clean, particle)
    # above the edge, where contrast is alike
    chosen = np.flatnonzero(truth.region == "above")
    lasting = last_ssim(series.clean[chosen], yx[chosen], truth.radius)
    return {
        **similarity(pairs, series.oracle, particle),
        **{f"clean_{key}": value for key, value in without_noise.items()},
        "far_one": _mean(lasting[:, particle]),
        "far": _mean(lasting),
        "residual": compare_maps(series.od, yx, series.simulator).residual,
        "clean_residual": compare_maps(series.clean, yx, series.simulator).residual,
    }


def similarity(values: Images, best: Images, particle: int) -> dict[str, float]:
    """Average the SSIM of one particle and of all, beside the oracle's.

    Parameters
    ----------
    values, best : (F - 1, P) of the method, and of the true positions.
    particle : the one that is told by itself.

    Returns
    -------
    ssim_one, var_one : of that particle. ssim, var : over all pairs of all particles.
    worst : the least mean of a particle. oracle_one, oracle : means of the same pairs aligned by
    the truth.
    """
    one = compare_ssim(values[:, [particle]], best[:, [particle]])
    all_ = compare_ssim(values, best)
    means = [float(np.nanmean(v)) for v in values.T if np.isfinite(v).any()]
    return {
        "ssim_one": one.mean,
        "var_one": one.variance,
        "oracle_one": one.oracle_mean,
        "ssim": all_.mean,
        "var": all_.variance,
        "oracle": all_.oracle_mean,
        "worst": min(means, default=float("nan")),
    }


def last_ssim(images: Images, yx: Array, radius: Array) -> Images:
    """Compare each particle's ROI in every frame with that in the last one.

    Adjacent pairs do not see an error that grows slowly; these do.

    Parameters
    ----------
    images : (F, H, W) OD, NaN where invalid. yx : (F, P, 2) px, NaN where there is none.
    radius : (P,) px.

    Returns
    -------
    (F - 1, P) float32, SSIM, NaN where one of the two is not known.
    """
    sides = sides_of(radius)
    (last,) = windows(images[-1:], yx[-1:], sides)
    values = [ssim(rois, last, 1.0).numpy() for rois in windows(images[:-1], yx[:-1], sides)]
    return np.array(values, np.float32).reshape(-1, len(radius))


def _mean(values: Images) -> float:
    known = values[np.isfinite(values)]
    return float(known.mean()) if known.size else float("nan")
