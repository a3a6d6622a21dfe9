"""Link the detections of a frame to particles: what all linkers share, and the default one."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ....models.arrays import Array, Mask
from ....models.detector import Detections
from . import tracks
from .assign import Regrouped, UnlinkedFrame, assign, gates, place, regroup
from .masks import DetectionView, similarity, view_detections
from .settings import LinkSettings
from .shift import field_shift
from .tracks import LinkResult, LinkState, Observation, Track, TrackState


@dataclass(frozen=True, slots=True, kw_only=True)
class Match:
    """The detection of a track.

    Attributes
    ----------
    row : of the detection.
    similarity : structural similarity of its ROI with that of the track.
    """

    row: int
    similarity: float


@dataclass(frozen=True, slots=True, kw_only=True)
class PreparedFrame:
    """A frame before its detections are matched with the tracks.

    Attributes
    ----------
    frame : what is to be matched.
    groups : the detections, divided and joined.
    shift : (2,) float64, common shift since the frame before, px.
    votes : fraction of the tracks that agree on it, 0..1.
    total : (2,) float64, common shift since the first frame, px.
    """

    frame: UnlinkedFrame
    groups: Regrouped
    shift: Array
    votes: float
    total: Array


@dataclass(frozen=True, slots=True)
class FrameLinker(ABC):
    """A linker but for its choice of which detection is which track."""

    settings: LinkSettings

    def init(self) -> LinkState:
        """Return the state before the first frame of a sample."""
        return LinkState(shift=np.zeros(2))

    def start_run(self, state: LinkState) -> LinkState:
        """Keep the identities, and search the first frame of the new run more widely."""
        still = (replace(t, velocity=np.zeros(2), step=np.zeros(2)) for t in state.tracks)
        return replace(state, tracks=tuple(still), new_run=True)

    @abstractmethod
    def update(
        self,
        state: LinkState,
        detections: Detections,
        od: NDArray[np.float32],
        claims: tuple[Observation, ...] = (),
        valid: Mask | None = None,
    ) -> tuple[LinkState, LinkResult]:
        """Link the detections of the next frame.

        Parameters
        ----------
        state : state after the frame before.
        detections : N detections of this frame.
        od : (H, W) float32, the frame as optical density.
        claims : identities that revision 0 of this frame gave. A particle that is new to `state`
            takes over the one at its place.
        valid : (H, W) bool, pixels in which particles can be seen; all if None.

        Returns
        -------
        The state after this frame, and the identities in it.
        """

    def confirm(self, state: LinkState, measured: Mapping[int, Array]) -> LinkState:
        """Keep particles that were measured at their expected places without a detection.

        Parameters
        ----------
        state : state after the frame in which they were measured.
        measured : (2,) positions in the image, px, by particle. Particles that do not coast, or
            have been kept so for `confirm_limit` frames, are left as they are.

        Returns
        -------
        The state with these particles `tracked`, their misses forgotten.
        """
        kept = (
            tracks.confirm(t, measured[t.particle], state.shift, self.settings)
            if t.particle in measured
            else t
            for t in state.tracks
        )
        return replace(state, tracks=tuple(kept))


class VotingLinker(FrameLinker):
    """The default linker: vote on the common shift, then assign by position and shape.

    The assignment is within a gate around each prediction that grows while a particle is not seen.
    Intensity takes no part: it changes fourfold over an absorption edge. The structural similarity
    of standardised ROIs is a check on doubtful pairs only.
    """

    __slots__ = ()

    def update(
        self,
        state: LinkState,
        detections: Detections,
        od: NDArray[np.float32],
        claims: tuple[Observation, ...] = (),
        valid: Mask | None = None,
    ) -> tuple[LinkState, LinkResult]:
        """Link the detections of the next frame."""
        prepared = prepare(state, detections, od, valid, self.settings)
        frame = prepared.frame
        matches = {}
        for t, n in assign(frame, self.settings).items():
            alike = similarity(frame.tracks[t].thumbnail, frame.views[n].thumbnail)
            matches[t] = Match(row=n, similarity=alike)
        return apply_matches(state, prepared, matches, claims, self.settings)


def prepare(
    state: LinkState,
    detections: Detections,
    od: NDArray[np.float32],
    valid: Mask | None,
    settings: LinkSettings,
) -> PreparedFrame:
    """Prepare the next frame for its matches.

    The order matters: the common shift first (it may be tens of pixels while particles move by
    one), then detections are divided and joined where they do not fit the expected masks.
    """
    valid = np.ones(od.shape, bool) if valid is None else valid
    shift, votes = field_shift(state, detections, settings)
    total = state.shift + shift
    expected = tuple(track.expected(total) for track in state.tracks)
    groups = regroup(detections, state.tracks, expected, valid, settings)
    frame = UnlinkedFrame(
        views=view_detections(groups.detections, od, groups.divided),
        tracks=state.tracks,
        expected=expected,
        gates=gates(state, float(np.hypot(shift[0], shift[1])), settings),
        valid=valid,
    )
    return PreparedFrame(frame=frame, groups=groups, shift=shift, votes=votes, total=total)


def apply_matches(
    state: LinkState,
    prepared: PreparedFrame,
    matches: Mapping[int, Match],
    claims: tuple[Observation, ...],
    settings: LinkSettings,
) -> tuple[LinkState, LinkResult]:
    """Continue the tracks with their matches, by row; what is left over founds particles."""
    old = _continue(prepared, matches, settings)
    new = _births(state, prepared, ({m.row for m in matches.values()}, claims), settings)
    after = LinkState(
        tracks=tuple(t for t, _ in old + new if t.state != TrackState.RETIRED),
        next_particle=max([state.next_particle, *(t.particle + 1 for t, _ in new)]),
        shift=prepared.total,
        new_run=state.new_run and len(prepared.groups.detections) == 0,
    )
    return after, LinkResult(
        observations=tuple(o for _, o in old + new if o is not None),
        shift=prepared.shift,
        votes=prepared.votes,
        detections=prepared.groups.detections,
    )


def _continue(
    prepared: PreparedFrame, matches: Mapping[int, Match], settings: LinkSettings
) -> list[tuple[Track, Observation | None]]:
    """Advance every known track, with its observation where there is one."""
    frame, groups = prepared.frame, prepared.groups
    rows = {track: match.row for track, match in matches.items()}
    # tracks that lie in parts: their expected masks hold more than their own detections
    parted = {t for t, row in rows.items() if row in groups.joined}
    parted |= {int(t) for n, t in enumerate(groups.inside) if t >= 0 and rows.get(int(t), -1) != n}
    out = []
    for row, track in enumerate(frame.tracks):
        match = matches.get(row)
        if match is None:
            after = tracks.miss(track, settings)
            observation = _unseen(track, after, frame.expected[row].yx)
        else:
            view = frame.views[match.row]
            yx = place(track, frame.expected[row], view, frame.valid).yx
            after = tracks.hit(track, view, yx, prepared.total, settings)
            observation = _seen(after, match, yx, view)
        after = replace(after, apart=track.apart + 1 if row in parted else 0)
        out.append((after, observation))
    return out


def _births(
    state: LinkState,
    prepared: PreparedFrame,
    known: tuple[set[int], tuple[Observation, ...]],
    settings: LinkSettings,
) -> list[tuple[Track, Observation | None]]:
    """Found particles with what is left over, unless it is part of one that is known."""
    taken, claims = known
    living = {track.particle for track in state.tracks}
    free = [c for c in claims if c.particle not in living and c.detection >= 0]
    number = state.next_particle
    born: list[tuple[Track, Observation | None]] = []
    for column, view in enumerate(prepared.frame.views):
        if column in taken or view.score < settings.min_score:
            continue
        inside = int(prepared.groups.inside[column])
        if inside >= 0 and state.tracks[inside].apart < settings.apart_frames:
            continue
        claim = _nearest(free, view.placed.yx, settings.gate_px)
        if claim is not None:
            free.remove(claim)
        particle = number if claim is None else claim.particle
        number += claim is None
        track = tracks.birth(particle, view, prepared.total, settings)
        match = Match(row=column, similarity=float("nan"))
        born.append((track, _seen(track, match, view.placed.yx, view)))
    return born


def _seen(track: Track, match: Match, yx: Array, view: DetectionView) -> Observation:
    return Observation(
        particle=track.particle,
        state=track.state,
        detection=match.row,
        yx=yx,
        similarity=match.similarity,
        divided=view.divided,
    )


def _unseen(before: Track, after: Track, yx: Array) -> Observation | None:
    """Observe coasting in every frame, the end of a track once, a tentative one's gap never."""
    if after.state != TrackState.COASTING and after.state == before.state:
        return None
    return Observation(
        particle=after.particle, state=after.state, detection=-1, yx=yx, similarity=float("nan")
    )


def _nearest(claims: list[Observation], yx: Array, gate: float) -> Observation | None:
    near = [(float(np.hypot(*(c.yx - yx))), i) for i, c in enumerate(claims)]
    distance, index = min(near, default=(np.inf, -1))
    return claims[index] if distance <= gate else None
