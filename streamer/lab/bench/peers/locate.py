"""Features located in each frame and linked into trajectories.

Crocker and Grier 1996, J. Colloid Interface Sci. 179, 298, doi:10.1006/jcis.1996.0217, by way of
trackpy (Allan et al., doi:10.5281/zenodo.1213240): band pass, local maxima, centre of mass within a
disc, linking by least squared displacement. Not given any motion but the start.

Settings: trackpy knows one size of feature, particles here differ threefold: located and linked
once per class of radius (within a factor 1.4). By the largest radius in the class: the disc has
1.2 radii, so that its rim lies beside the particle and not on it, features are two radii apart, and
40 steps of refinement let the disc get from the brightest grain to the centre. Features lighter
than a twentieth of the lightest wanted one in the reference frame are noise (contrast itself
changes fourfold), and so is what comes after the 1.5 P heaviest of a frame. Memory 3 frames; search
range half the least distance between two particles, at which linking becomes ambiguous, but at
least 15 and at most 40 px. A particle is the trajectory nearest to its start in the reference
frame; when that ends, the particle is lost.
"""

from __future__ import annotations

import warnings
from functools import partial

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.spatial.distance import pdist

from .....models.arrays import Array
from .interface import LOST, PeerResult, PeerStart, Stack, filled

_CLASS = 1.4
_DISC = 1.2  # radii
_APART = 2.0  # radii
_ITERATIONS = 40
_MEMORY = 3  # frames
_RANGE = (15.0, 40.0)  # px
_LIGHTEST = 0.05
_FEATURES = 1.5  # per particle


def locate_and_link(stack: Stack, _energies: Array, start: PeerStart) -> PeerResult:
    """Follow the features that are nearest to the start."""
    import trackpy

    trackpy.quiet()  # it writes a line per frame to the terminal
    whole, usable = filled(stack)
    yx = np.full((len(stack), *start.yx.shape), np.nan)
    ids = np.full(yx.shape[:2], LOST, np.int64)
    reach = _search_range(start)
    first = 0
    for members in _classes(start):
        features = _locate(whole, usable, start, members)
        if features.empty:
            continue
        tracks = trackpy.link(features, reach, memory=_MEMORY, adaptive_stop=1.0, adaptive_step=0.9)
        tracks["particle"] += first
        _follow(tracks, start, members, yx, ids)
        first = int(tracks["particle"].max()) + 1
    return PeerResult(yx=yx, ids=ids)


def _classes(start: PeerStart) -> list[NDArray[np.intp]]:
    """Group the particles of the start, those of similar radius together."""
    known = np.flatnonzero(np.isfinite(start.yx).all(axis=1))
    size = np.log(start.radius[known]) / np.log(_CLASS)
    rank = np.floor(size - size.min(initial=np.inf))
    return [known[rank == value] for value in np.unique(rank)]


def _search_range(start: PeerStart) -> float:
    """Choose how far a feature may move between frames, px."""
    known = start.yx[np.isfinite(start.yx).all(axis=1)]
    return float(np.clip(pdist(known).min(initial=np.inf) / 2, *_RANGE))


def _locate(
    whole: Stack, usable: NDArray[np.bool_], start: PeerStart, members: NDArray[np.intp]
) -> pd.DataFrame:
    """Locate features of one size in all frames: frame, y, x, mass; none if none is on a start."""
    import trackpy

    largest = start.radius[members].max()
    locate = partial(
        trackpy.locate,
        diameter=2 * int(np.ceil(_DISC * largest)) + 1,
        separation=_APART * largest,
        max_iterations=_ITERATIONS,
        characterize=False,
        engine="python",
    )
    with warnings.catch_warnings():
        # a frame without features is a result, not a mishap
        warnings.simplefilter("ignore", UserWarning)
        reference = locate(whole[start.frame0])
        nearest, seen = _nearest(reference[["y", "x"]].to_numpy(), start, members)
        if not seen.any():
            return reference.iloc[:0]
        lightest = _LIGHTEST * reference["mass"].to_numpy()[nearest[seen]].min()
        found = [
            locate(whole[k], minmass=lightest, topn=int(_FEATURES * len(start.yx))).assign(frame=k)
            for k in np.flatnonzero(usable)
        ]
    return pd.concat([table for table in found if len(table)], ignore_index=True)


def _nearest(
    places: Array, start: PeerStart, members: NDArray[np.intp]
) -> tuple[NDArray[np.intp], NDArray[np.bool_]]:
    """Find the place nearest to each start (N,), and whether it lies on the particle (N,)."""
    if not len(places):
        return np.zeros(len(members), np.intp), np.zeros(len(members), np.bool_)
    distance = np.linalg.norm(places[:, None] - start.yx[members], axis=2)
    return distance.argmin(axis=0), distance.min(axis=0) <= start.radius[members]


def _follow(
    tracks: pd.DataFrame,
    start: PeerStart,
    members: NDArray[np.intp],
    yx: Array,
    ids: NDArray[np.int64],
) -> None:
    """Write the trajectories of some particles into `yx` (F, P, 2) and `ids` (F, P)."""
    frame, track = tracks["frame"].to_numpy(), tracks["particle"].to_numpy()
    places = tracks[["y", "x"]].to_numpy()
    reference = frame == start.frame0
    nearest, seen = _nearest(places[reference], start, members)
    for p, row in zip(members[seen], nearest[seen], strict=True):
        own = track == track[reference][row]
        yx[frame[own], p] = places[own]
        ids[frame[own], p] = track[own]
