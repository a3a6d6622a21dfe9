"""What is compared: our provisional and final results, and what each peer makes of the frames."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ....models.arrays import Array
from ...evaluate.tables import Revision, of_revision
from ...simulate import Truth
from ..peers import Peer, PeerStart
from .scene import Scene

ORACLE_STARTED = frozenset({"roi_first", "roi_previous"})
"""Peers that are shown the true position in every frame and only refine it."""

OURS = ("ours, provisional", "ours, final")


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


def our_estimates(scene: Scene) -> Iterable[Estimate]:
    """Results of the processor: as they came first, and as they stood in the end."""
    revisions: tuple[Revision, Revision] = ("first", "highest")
    for name, revision in zip(OURS, revisions, strict=True):
        rows = of_revision(scene.particles, revision)
        yield Estimate(name=name, rows=rows.assign(revision=0))


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
