"""Positions by one method: as rows, as trajectories of the true particles, as aligned pictures."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ....models.arrays import Array
from ..evaluate import Score, score
from ..evaluate.matching import MEASURED, Revision, of_revision, where
from ..evaluate.similarity import sides_of, windows
from ..simulate import Truth
from .peers import Peer, PeerStart

UNALIGNED = "unaligned"


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """Positions of particles by one estimator.

    Attributes
    ----------
    name : of the estimator.
    rows : frame, particle, y, x, state, revision (px; NaN rows left out), one revision a frame.
    failure : why there are none, "" if there are. seconds : that a peer took, NaN for us.
    """

    name: str
    rows: pd.DataFrame
    failure: str = ""
    seconds: float = float("nan")


def our_estimate(name: str, particles: pd.DataFrame, revision: Revision) -> Estimate:
    """Take the positions of one revision out of the rows of the ``particles`` stream."""
    return Estimate(name=name, rows=of_revision(particles, revision).assign(revision=0))


def peer_estimate(name: str, track: Peer, od: NDArray[np.float32], truth: Truth) -> Estimate:
    """Run a peer over frames.

    A peer that cannot handle them is told with its reason, so that its row is not missing.

    Parameters
    ----------
    name : of the peer. track : the peer.
    od : (F, H, W) optical density, NaN where invalid. truth : of these frames.
    """
    start = peer_start(truth)
    begin = time.perf_counter()
    try:
        result = track(od, truth.energies, start)
    except (ValueError, ArithmeticError, LookupError, RuntimeError) as error:
        failure = f"{type(error).__name__}: {error}"
        return Estimate(name=name, rows=_rows(np.zeros((0, 0, 2)), None), failure=failure)
    seconds = time.perf_counter() - begin
    return Estimate(name=name, rows=_rows(result.yx, result.ids), seconds=seconds)


def peer_start(truth: Truth) -> PeerStart:
    """Show the peers the true positions in the frame in which most particles are best seen."""
    wanted = truth.whole
    contrast = truth.od.mean(axis=1)
    frame0 = int(np.argmax(wanted.sum(axis=1) + contrast / (1 + contrast.max())))
    return PeerStart(
        frame0=frame0,
        yx=np.where(wanted[frame0, :, None], truth.yx[frame0], np.nan),
        radius=truth.radius,
        oracle_yx=truth.yx,
    )


def _rows(yx: Array, ids: NDArray[np.int64] | None) -> pd.DataFrame:
    frame, particle = np.nonzero(np.isfinite(yx).all(axis=2))
    y, x = yx[frame, particle].T
    identity = particle if ids is None else ids[frame, particle]
    columns = {"frame": frame, "particle": identity, "y": y, "x": x}
    return pd.DataFrame({**columns, "state": "tracked", "revision": 0})


@dataclass(frozen=True, slots=True)
class Trajectories:
    """An estimate as trajectories of the true particles.

    Attributes
    ----------
    score : of the estimate.
    paths : (F, P, 2) px, positions of the true particles, NaN where there is none.
    errors : (F, P, 2) px, what is wrong with them, a constant offset per particle removed.
    inside : (F, P, 2) px, the paths where the truth asks for them, else NaN.
    """

    score: Score
    paths: Array
    errors: Array
    inside: Array


def trajectories(estimate: Estimate, truth: Truth) -> Trajectories:
    """Score an estimate, and follow the true particles in it."""
    found = score(estimate.rows, truth)
    paths = _paths(_owned(found.errors, estimate.rows), truth)
    # errors of whole trajectories, however far off, less the score's offsets
    hits = found.errors.groupby("truth")[["raw_dy", "raw_dx"]].mean()
    offset = hits.reindex(range(truth.n_particles)).to_numpy(np.float64)
    wanted = truth.whole[..., None]
    errors = np.where(wanted, paths - truth.yx - offset, np.nan)
    return Trajectories(found, paths, errors, np.where(wanted, paths, np.nan))


def true_paths(truth: Truth) -> Array:
    """Return the true positions (F, P, 2) px, NaN where they are not asked for."""
    return np.where(truth.whole[..., None], truth.yx, np.nan)


def _owned(errors: pd.DataFrame, rows: pd.DataFrame) -> pd.DataFrame:
    """Select measured rows whose identity has ever been on a true particle, told as `truth`.

    Each identity belongs to the particle it mostly lies on; unlike the errors of the score, the
    rows hold what lies far from any particle, too.
    """
    rows = where(rows, rows["state"].isin(MEASURED))
    counts = errors.groupby(["particle", "truth"]).size().unstack(fill_value=0)
    ids, particles = counts.index.to_numpy(np.int64), counts.columns.to_numpy(np.int64)
    if not ids.size:
        return rows.iloc[:0].assign(truth=0)
    owner = particles[counts.to_numpy().argmax(axis=1)]
    at = np.searchsorted(ids, rows["particle"].to_numpy(np.int64)).clip(max=len(ids) - 1)
    known = ids[at] == rows["particle"].to_numpy(np.int64)
    return where(rows.assign(truth=owner[at]), known)


def _paths(known: pd.DataFrame, truth: Truth) -> Array:
    """Arrange positions (F, P, 2) px; of several identities on one particle the nearest counts."""
    yx = np.full((truth.n_frames, truth.n_particles, 2), np.nan)
    frame, owner = (known[key].to_numpy(np.int64) for key in ("frame", "truth"))
    found = known[["y", "x"]].to_numpy(float)
    far = np.linalg.norm(found - truth.yx[frame, owner], axis=1)
    order = np.argsort(-far, kind="stable")  # the nearest is written last
    yx[frame[order], owner[order]] = found[order]
    return yx


def rms(errors: Array) -> float:
    """Return the rms of the distances (..., 2), px; NaN if there are none."""
    squared = (errors**2).sum(axis=-1)
    known = squared[np.isfinite(squared)]
    return float(np.sqrt(known.mean())) if known.size else float("nan")


def rms_by_frame(errors: Array) -> Array:
    """Return the rms over the particles in each frame, px, (F,), of errors (F, P, 2)."""
    squared = (errors**2).sum(axis=2)
    n = np.isfinite(squared).sum(axis=1)
    return np.sqrt(np.nansum(squared, axis=1) / np.where(n > 0, n, np.nan))


def mean_known(stack: NDArray[np.floating]) -> Array:
    """Average over the first axis what is finite; NaN where nothing is."""
    known = np.isfinite(stack)
    count = known.sum(axis=0)
    return np.where(known, stack, 0).sum(axis=0) / np.where(count > 0, count, np.nan)


# Differential maps of one particle: its last aligned pictures minus its first.


@dataclass(frozen=True, slots=True, kw_only=True)
class DifferentialMaps:
    """By method; (S, S) OD, all NaN where the particle was lost.

    Attributes
    ----------
    plain : last frame minus first, as Su et al. 2024 show it.
    matched : mean of the last frames minus `gain` times that of the first ones, less an offset:
        both pictures have the contrast of the last, so that only misalignment and chemistry stay.
    gain : of the pictures that are aligned by the truth.
    """

    plain: Mapping[str, Array]
    matched: Mapping[str, Array]
    gain: float


def differential_maps(
    od: NDArray[np.float32],
    truth: Truth,
    particle: int,
    paths: Mapping[str, Array],
    spans: tuple[NDArray[np.int64], NDArray[np.int64]],
    oracle: str,
) -> DifferentialMaps:
    """Cut out one particle along the paths of all methods, and without any, and subtract.

    Parameters
    ----------
    od : (F, H, W). truth : of these frames. particle : the true one that is cut out.
    paths : (F, P, 2) px by method. spans : frames that are first, and last.
    oracle : name of the path that is the true one.
    """
    still = np.broadcast_to(truth.yx[spans[0][0]], truth.yx.shape)
    side = sides_of(truth.radius[[particle]])
    ends = {
        name: [_pictures(od[frames], path[frames][:, [particle]], side) for frames in spans]
        for name, path in {UNALIGNED: still, **paths}.items()
    }
    means = {name: [mean_known(one) for one in both] for name, both in ends.items()}
    gain, offset = contrast(*means[oracle])
    return DifferentialMaps(
        plain={name: last[-1] - first[0] for name, (first, last) in ends.items()},
        matched={name: last - gain * first - offset for name, (first, last) in means.items()},
        gain=gain,
    )


def _pictures(od: NDArray[np.float32], path: Array, side: NDArray[np.int64]) -> Array:
    """Cut pictures (n, S, S) along a path (n, 1, 2)."""
    return np.stack([one[0, 0].numpy() for one in windows(od, path, side)]).astype(np.float64)


def contrast(first: Array, last: Array) -> tuple[float, float]:
    """Fit gain and offset, by least squares, that take the first picture to the last."""
    known = np.isfinite(first) & np.isfinite(last)
    if not known.any():
        return 1.0, 0.0
    a, b = first[known], last[known]
    centred = a - a.mean()
    gain = float(centred @ b / max(centred @ centred, 1e-12))
    return gain, float(b.mean() - gain * a.mean())
