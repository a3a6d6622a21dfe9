"""Identities of particles over a whole series, against the truth.

IDF1 (Ristani et al. 2016, doi:10.1007/978-3-319-48881-3_2) asks for one identity per true
particle over the whole series; HOTA (Luiten et al. 2021, doi:10.1007/s11263-020-01375-2) weighs
detection and association equally, averaged over how strictly positions have to agree. Instances
of true particles that are cut by the frame, and the results that lie on them, count neither way.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.optimize import linear_sum_assignment

from ....models.arrays import Array, Mask
from ..simulate.truth import Truth
from .matching import MEASURED, Ints, Matches, Revision, match_rows, usable_rows, where

_ALPHAS = np.linspace(0.05, 0.95, 19)
_EPS = 1e-9
_COLUMNS = ("truth", "frame", "cause", "delay", "kept")

# How long it takes until a true particle that was hidden or lost is measured again.


@dataclass(frozen=True, slots=True, kw_only=True)
class Reacquisition:
    """Summary of n events.

    Attributes
    ----------
    n : events.
    median, longest : frames from the event until the particle was measured; 0 is at once.
    never : events after which it was not measured before it vanished or the series ended.
    kept : share of the measured ones that were measured before which got their old identity.
    """

    n: int
    median: float
    longest: float
    never: int
    kept: float


def reacquisitions(frame_id: Ints, wanted: Mask, visible: Mask) -> pd.DataFrame:
    """Find all events after which true particles had to be found (again).

    Parameters
    ----------
    frame_id : (F, P) what explains a true particle in a frame, -1 for nothing.
    wanted : (F, P) bool, it is wholly visible.
    visible : (F, P) bool, at least a part of it is visible.

    Returns
    -------
    One row per event: truth, frame in which it could be measured first, cause (``hidden``: it
    had not been visible; ``missed``: it was measured in the wanted frame before), delay in wanted
    frames (NaN for never), kept (1 the identity of the last time, 0 another one, NaN the first
    time or never).
    """
    parts = [
        _of_particle(frame_id[:, p], wanted[:, p], visible[:, p]).assign(truth=p)
        for p in range(frame_id.shape[1])
    ]
    table = pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()
    return table.reindex(columns=list(_COLUMNS))


def summarise(events: pd.DataFrame) -> Reacquisition:
    """Summarise some events; NaN where there is none."""
    delay = events["delay"].to_numpy(np.float64)
    kept = events["kept"].to_numpy(np.float64)
    found, again = delay[np.isfinite(delay)], kept[np.isfinite(kept)]
    return Reacquisition(
        n=len(delay),
        median=float(np.median(found)) if found.size else float("nan"),
        longest=float(found.max()) if found.size else float("nan"),
        never=int(np.isnan(delay).sum()),
        kept=float(again.mean()) if again.size else float("nan"),
    )


def _of_particle(frame_id: Ints, wanted: Mask, visible: Mask) -> pd.DataFrame:
    frames = np.flatnonzero(wanted)
    identity = frame_id[frames]
    found, index = identity >= 0, np.arange(len(frames))
    unseen = np.cumsum(~visible)[frames]
    returned = np.diff(unseen, prepend=0) > 0
    period = np.cumsum(returned)
    lost = ~found & ~returned & np.concatenate([[False], found])[: len(frames)]
    following = np.minimum.accumulate(np.where(found, index, len(frames))[::-1])[::-1]
    latest = np.maximum.accumulate(np.where(found, index, -1))
    start = np.flatnonzero(returned | lost)
    then = np.append(identity, -1)[following[start]]
    measured = np.append(period, -1)[following[start]] == period[start]
    before = np.concatenate([[-1], latest])[start]
    earlier = np.append(identity, -1)[before]
    return pd.DataFrame(
        {
            "frame": frames[start],
            "cause": np.where(returned[start], "hidden", "missed"),
            "delay": np.where(measured, following[start] - start, np.nan),
            "kept": np.where(measured & (earlier >= 0), then == earlier, np.nan),
        }
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """Measures of how identities are kept.

    Attributes
    ----------
    idf1 : 1 if each true particle has one identity and each identity one true particle.
    hota, detection, association : HOTA and its two parts, means over 19 thresholds, 0..1.
    false_per_frame : measured positions that explain no true particle.
    tracked_false_per_frame : those of them that are ``tracked``.
    duplicates_per_frame : those of them that lie on a true particle that another one explains.
    hidden : re-acquisition of true particles that came (back) into view or got contrast (back).
    missed : re-acquisition of true particles that were in view, but lost.
    """

    idf1: float
    hota: float
    detection: float
    association: float
    false_per_frame: float
    tracked_false_per_frame: float
    duplicates_per_frame: float
    hidden: Reacquisition
    missed: Reacquisition


def identity(
    particles: pd.DataFrame, truth: Truth, *, revision: Revision = "highest", gate: float = 0.5
) -> Identity:
    """Compare the identities of measured rows with the truth.

    Parameters
    ----------
    particles : columns frame, particle, y, x, state, revision (px; `frame` is the row of `truth`).
    truth : of the same run.
    revision : take the ``highest`` revision of each frame and particle, or only the ``first``.
    gate : distance at which similarity is 0, in radii of the true particle; for IDF1, and for
        what is false, anything nearer is a match.
    """
    rows = usable_rows(particles, truth, revision)
    rows = where(rows, rows["state"].isin(MEASURED))
    matches = match_rows(rows, truth, gate)
    there = np.isfinite(matches.yx[..., 0])
    explaining = _explaining(matches.frame_id, there.shape)
    false = there & ~explaining
    asked = there & ~_explaining(np.where(truth.whole, -1, matches.frame_id), there.shape)
    similar = _similarity(matches, truth, gate) * asked[..., None]
    hota, detection, association = hota_of(similar, asked, truth.whole)
    events = reacquisitions(matches.frame_id, truth.whole, truth.visible)
    return Identity(
        idf1=idf1_of(similar > 0, asked, truth.whole),
        hota=hota,
        detection=detection,
        association=association,
        false_per_frame=float(false.sum() / truth.n_frames),
        tracked_false_per_frame=float((false & _tracked(rows, matches)).sum() / truth.n_frames),
        duplicates_per_frame=float((false & matches.near).sum() / truth.n_frames),
        hidden=summarise(where(events, events["cause"] == "hidden")),
        missed=summarise(where(events, events["cause"] == "missed")),
    )


def idf1_of(inside: Mask, found: Mask, wanted: Mask) -> float:
    """Compute IDF1: twice the instances on a one-to-one assignment over all instances.

    Parameters
    ----------
    inside : (F, K, P) bool, a result is near enough to a true particle.
    found : (F, K) bool, where there are results.
    wanted : (F, P) bool, where there are true particles.
    """
    together = (inside & found[..., None] & wanted[:, None]).sum(axis=0)
    # dummy nodes only cost what is left unmatched: the cheapest assignment has most matches
    result, true = linear_sum_assignment(together, maximize=True)
    instances = int(found.sum()) + int(wanted.sum())
    return float(2 * together[result, true].sum() / instances) if instances else float("nan")


def hota_of(similar: Array, found: Mask, wanted: Mask) -> tuple[float, float, float]:
    """Compute HOTA, detection and association accuracy, as the authors' TrackEval computes them.

    Parameters
    ----------
    similar : (F, K, P) similarity of each result with each true particle, 0..1.
    found : (F, K) bool, where there are results.
    wanted : (F, P) bool, where there are true particles.

    Returns
    -------
    Means over the thresholds 0.05, 0.10, ..., 0.95; NaN without any instance.
    """
    similar = similar * found[..., None] * wanted[:, None]
    n_found, n_wanted = found.sum(axis=0)[:, None], wanted.sum(axis=0)[None, :]
    if not n_found.sum() + n_wanted.sum():
        return float("nan"), float("nan"), float("nan")
    share = similar.sum(axis=1, keepdims=True) + similar.sum(axis=2, keepdims=True) - similar
    potential = (similar / np.maximum(share, _EPS)).sum(axis=0)
    alignment = potential / np.maximum(n_found + n_wanted - potential, _EPS)
    pairs = [linear_sum_assignment(alignment * frame, maximize=True) for frame in similar]
    frame = np.repeat(np.arange(len(pairs)), [len(one[0]) for one in pairs])
    result, true = (np.concatenate([one[i] for one in pairs]) for i in (0, 1))
    value = similar[frame, result, true]
    hit = (value[None] >= _ALPHAS[:, None] - _EPS) & (value[None] > 0)
    counts = np.zeros((len(_ALPHAS), *potential.shape))
    level, number = np.nonzero(hit)
    np.add.at(counts, (level, result[number], true[number]), 1)
    matched = counts.sum(axis=(1, 2))
    detection = matched / (n_found.sum() + n_wanted.sum() - matched)
    each = counts / np.maximum(n_found + n_wanted - counts, 1)
    association = (counts * each).sum(axis=(1, 2)) / np.maximum(matched, 1)
    hota = np.sqrt(detection * association)
    return float(hota.mean()), float(detection.mean()), float(association.mean())


def _similarity(matches: Matches, truth: Truth, gate: float) -> Array:
    """Compute 1 - distance / gate of results (F, K) and visible true particles (P), at least 0."""
    distance = np.linalg.norm(matches.yx[:, :, None] - truth.yx[:, None], axis=-1)
    near = 1 - distance / (gate * truth.radius)
    return np.where(truth.visible[:, None], np.clip(np.nan_to_num(near), 0, 1), 0.0)


def _explaining(frame_id: Ints, shape: tuple[int, ...]) -> Mask:
    """Mark the results (F, K) that explain a true particle."""
    marked = np.zeros(shape, bool)
    frame, particle = np.nonzero(frame_id >= 0)
    marked[frame, frame_id[frame, particle]] = True
    return marked


def _tracked(rows: pd.DataFrame, matches: Matches) -> Mask:
    marked = np.zeros(matches.near.shape, bool)
    tracked = where(rows, rows["state"] == "tracked")
    column = np.searchsorted(matches.ids, tracked["particle"].to_numpy(np.int64))
    marked[tracked["frame"].to_numpy(np.int64), column] = True
    return marked
