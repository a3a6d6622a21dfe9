"""Positions against the truth: one regime from the simulator to the figures of every method."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ....callbacks.processor.processor import StreamProcessor
from ....models.arrays import Array
from ...config import Settings
from ...core.frames import NamedDocument
from ..evaluate import Score
from ..evaluate.bound import Bound, calibration, cramer_rao, rms_over_bound
from ..evaluate.identity import identity
from ..evaluate.similarity import adjacent_ssim, compare_maps, compare_ssim, od_stack
from ..simulate import SimSettings, Simulator, Truth, simulate_documents
from .estimates import (
    Estimate,
    differential_maps,
    our_estimate,
    peer_estimate,
    rms,
    rms_by_frame,
    trajectories,
    true_paths,
)
from .harness import Progress, ResultRows, no_progress, tracked
from .peers import Peer
from .regimes import AccuracyRegime

Pairs = NDArray[np.float32]
OURS = ("ours, provisional", "ours, final")
ORACLE_STARTED = frozenset({"roi_first", "roi_previous"})
"""Peers that are shown the true position in every frame and only refine it."""
ORACLE = "oracle"
_AVERAGE = 5  # frames; one frame below the edge is mostly noise


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchScan:
    """F frames of all scans of a regime behind each other.

    Attributes
    ----------
    regime : what was simulated. simulator : the microscope.
    truth : with the instances that are asked for marked as not cut.
    od : (F, H, W) float32 optical density with each frame's own flat, NaN where invalid; what
        the peers see.
    particles, frames : rows of these streams without images; `frame` counts over all scans.
    ledgers : of the stop documents.
    """

    regime: AccuracyRegime
    simulator: Simulator
    truth: Truth
    od: NDArray[np.float32]
    particles: pd.DataFrame
    frames: pd.DataFrame
    ledgers: list[dict[str, Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class BestPossible:
    """Limits that the truth of a scan sets: oracle and bound.

    Attributes
    ----------
    bound : Cramer-Rao bound of positions above the edge.
    oracle : (F - 1, P) SSIM of adjacent ROIs that are aligned by the true positions.
    """

    bound: Bound
    oracle: Pairs


@dataclass(frozen=True, slots=True, kw_only=True)
class EstimateFigures:
    """One estimate, measured.

    Attributes
    ----------
    figures : by the keys of the columns; NaN where there is nothing to tell.
    paths, errors : (F, P, 2) px, see `Trajectories`.
    pairs : (F - 1, P) SSIM of adjacent ROIs that are aligned by these paths.
    """

    figures: Mapping[str, float]
    paths: Array
    errors: Array
    pairs: Pairs


@dataclass(frozen=True, slots=True, kw_only=True)
class Exhibit:
    """Curves and maps by estimator; also of the ``oracle``, and without any alignment.

    Attributes
    ----------
    energies : (F,) eV. particle : the true particle that is shown.
    spans : the first and the last five frames in which it lies wholly inside.
    errors : (F,) rms over all particles, px. ssim : (F - 1,) of the particle's ROI with the
        one of the next frame. difference : (S, S) OD, see `DifferentialMaps.matched`.
    """

    energies: Array
    particle: int
    spans: tuple[NDArray[np.int64], NDArray[np.int64]]
    gain: float
    errors: Mapping[str, Array]
    ssim: Mapping[str, Pairs]
    difference: Mapping[str, Array]


@dataclass(frozen=True, slots=True, kw_only=True)
class RegimeResult:
    """Figures of one regime.

    Attributes
    ----------
    regime : which. settings : of the simulator. n_frames, n_particles : true ones.
    figures : by estimator, then by column key. failures : why a peer has none, by estimator.
    exhibit : curves and images for the picture. ledgers : one for each run.
    """

    regime: AccuracyRegime
    settings: SimSettings
    n_frames: int
    n_particles: int
    figures: Mapping[str, Mapping[str, float]]
    failures: Mapping[str, str]
    exhibit: Exhibit
    ledgers: list[dict[str, Any]]


def run_regime(
    regime: AccuracyRegime,
    simulated: SimSettings,
    settings: Settings,
    peers: Mapping[str, Peer],
    progress: Progress = no_progress,
) -> RegimeResult:
    """Send a regime through the processor and the peers, and score them all.

    Parameters
    ----------
    regime : which. simulated : of the microscope, see :meth:`AccuracyRegime.settings`.
    settings : of the processor. peers : by name.
    """
    steps = 4.0 + len(peers)
    scan = record_scan(
        regime, simulated, settings, lambda what, n, of: progress(what, n / of, steps)
    )
    progress("Cramer-Rao bound", 1.0, steps)
    best = best_possible(scan)
    measured: dict[str, EstimateFigures] = {}
    failures: dict[str, str] = {}
    others = (peer_estimate(name, track, scan.od, scan.truth) for name, track in peers.items())
    for number, estimate in enumerate(chain(our_estimates(scan), others)):
        progress(estimate.name, 2.0 + number, steps)
        if estimate.failure:
            failures[estimate.name] = estimate.failure
        measured[estimate.name] = measure(estimate, scan, best)
    progress("done", steps, steps)
    return RegimeResult(
        regime=regime,
        settings=simulated,
        n_frames=scan.truth.n_frames,
        n_particles=scan.truth.n_particles,
        figures={name: found.figures for name, found in measured.items()},
        failures=failures,
        exhibit=exhibit(scan, measured, best),
        ledgers=scan.ledgers,
    )


def record_scan(
    regime: AccuracyRegime,
    simulated: SimSettings,
    settings: Settings,
    progress: Progress = no_progress,
) -> BenchScan:
    """Simulate all scans of a regime and send them through one processor.

    Parameters
    ----------
    regime : order of the plan, transforms. simulated : see :meth:`AccuracyRegime.settings`.
    settings : of the processor. progress : is called after each document.
    """
    simulator, rows, processor = Simulator(simulated), ResultRows(), StreamProcessor(settings)
    processor.subscribe(rows)
    frames = len(simulated.scan_energies)
    documents = 2 * frames + 6  # of a scan: images, flats, darks, and what frames a run
    stacks = []
    for scan in range(simulated.scans):
        rows.offset = scan * frames
        raw = simulate_documents(order=regime.order, simulator=simulator, scan=scan)
        seen = tracked(
            _through(regime.transform(raw), processor),
            progress,
            "processing",
            documents * simulated.scans,
            start=documents * scan,
        )
        stacks.append(od_stack(seen, settings))
    processor.close()
    return BenchScan(
        regime=regime,
        simulator=simulator,
        truth=regime.judged(simulator.truth),
        od=np.concatenate(stacks),
        particles=rows.table("particles"),
        frames=rows.table("frames"),
        ledgers=rows.ledgers,
    )


def _through(
    documents: Iterator[NamedDocument], processor: StreamProcessor
) -> Iterator[NamedDocument]:
    """Hand each document to the processor on its way, so that it is rendered only once."""
    for name, doc in documents:
        processor(name, doc)
        yield name, doc


def best_possible(scan: BenchScan) -> BestPossible:
    """Work out the bound above the edge, and align by the truth."""
    truth = scan.truth
    return BestPossible(
        bound=cramer_rao(scan.simulator, np.flatnonzero(truth.region == "above")),
        oracle=adjacent_ssim(scan.od, true_paths(truth), truth.radius),
    )


def our_estimates(scan: BenchScan) -> tuple[Estimate, Estimate]:
    """Return our results: as they came first, and as they stood in the end."""
    return (
        our_estimate(OURS[0], scan.particles, "first"),
        our_estimate(OURS[1], scan.particles, "highest"),
    )


def measure(estimate: Estimate, scan: BenchScan, best: BestPossible) -> EstimateFigures:
    """Compare an estimate with the truth, and with the best that there could be."""
    found = trajectories(estimate, scan.truth)
    pairs = adjacent_ssim(scan.od, found.inside, scan.truth.radius)
    ratio = rms_over_bound(found.score.errors, best.bound)
    similar = compare_ssim(pairs, best.oracle)
    maps = compare_maps(scan.od, found.inside, scan.simulator)
    figures = {
        **_positions(found.score),
        "ungated": rms(found.errors),
        "crb_above": ratio["above"],
        "crb_within": ratio["within above"],
        **_calibration(found.score),
        **_identity(found.score, estimate.rows, scan.truth),
        "ssim": similar.mean,
        "ssim_var": similar.variance,
        "ssim_oracle": similar.oracle_mean,
        "ssim_var_oracle": similar.oracle_variance,
        "residual": maps.residual,
        "residual_oracle": maps.oracle,
        "seconds": estimate.seconds,
    }
    return EstimateFigures(figures=figures, paths=found.paths, errors=found.errors, pairs=pairs)


def _positions(found: Score) -> dict[str, float]:
    """Collect errors in px, one constant offset of each true particle removed.

    rms, median, p95 are over all energies; below, at, above are rms of the same errors;
    within_below, within_above have the offset removed on each side of the edge by itself: the
    precision, without the `step` between the sides. common is shared by all.
    """
    return {
        "n": found.overall.n,
        "rms": found.overall.rms,
        "median": found.overall.median,
        "p95": found.overall.p95,
        **{name: spread.rms for name, spread in found.regions.items()},
        **{f"within_{name}": spread.rms for name, spread in found.within.items()},
        "step": found.step,
        "common": found.common,
        "offset": found.raw.rms,
    }


def _calibration(found: Score) -> dict[str, float]:
    if "sigma_y" not in found.errors:  # peers tell no errors
        return {}
    nees = calibration(found.errors)
    return {
        "nees": nees["overall"].nees,
        "nees_above": nees["above"].nees,
        "nees_within": nees["within above"].nees,
    }


def _identity(found: Score, rows: pd.DataFrame, truth: Truth) -> dict[str, float]:
    kept = identity(rows, truth)
    return {
        "recall": found.recall,
        "recall_coasting": found.recall_coasting,
        "false_per_frame": kept.false_per_frame,
        "false_tracked": kept.tracked_false_per_frame,
        "switches": found.switches,
        "fragmentations": found.fragmentations,
        "idf1": kept.idf1,
        "hota": kept.hota,
        "delay": kept.hidden.median,
        "delay_longest": kept.hidden.longest,
        "never": kept.hidden.never + kept.missed.never,
        "kept": kept.hidden.kept,
    }


def exhibit(
    scan: BenchScan, measured: Mapping[str, EstimateFigures], best: BestPossible
) -> Exhibit:
    """Collect what the picture shows of the estimates, beside the oracle."""
    truth = scan.truth
    # of median size among those that are there most of the time
    often = truth.whole.sum(axis=0)
    often = np.flatnonzero(often == often.max())
    particle = int(often[np.argsort(truth.radius[often])[len(often) // 2]])
    frames = np.flatnonzero(truth.whole[:, particle])
    if not frames.size:
        frames = np.arange(truth.n_frames)
    n = min(_AVERAGE, (len(frames) + 1) // 2)
    spans = frames[:n], frames[-n:]
    paths = {name: found.paths for name, found in measured.items()} | {ORACLE: truth.yx}
    maps = differential_maps(scan.od, truth, particle, paths, spans, ORACLE)
    similar = {name: found.pairs for name, found in measured.items()} | {ORACLE: best.oracle}
    return Exhibit(
        energies=truth.energies,
        particle=particle,
        spans=spans,
        gain=maps.gain,
        errors={name: rms_by_frame(found.errors) for name, found in measured.items()},
        ssim={name: one[:, particle] for name, one in similar.items()},
        difference=maps.matched,
    )
