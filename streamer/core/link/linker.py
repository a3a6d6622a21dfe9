"""One frame of a linker: what every linker does around its choice of who is who."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ....models.arrays import Array, Mask
from ....models.detector import Detections
from . import life
from .assign import assign
from .look import DetectionView, UnlinkedFrame, expect, gates, place, similarity, view_detections
from .settings import LinkSettings
from .shift import field_shift
from .touching import Regrouped, regroup
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
    scene : what is to be matched.
    groups : the detections, divided and joined.
    shift : (2,) float64, common shift since the frame before, px.
    votes : fraction of the tracks that agree on it, 0..1.
    total : (2,) float64, common shift since the first frame, px.
    """

    scene: UnlinkedFrame
    groups: Regrouped
    shift: Array
    votes: float
    total: Array


def begin() -> LinkState:
    """State before the first frame of a sample."""
    return LinkState(shift=np.zeros(2))


def begin_run(state: LinkState) -> LinkState:
    """Keep the identities, and search the first frame of the new run more widely."""
    still = (replace(t, velocity=np.zeros(2), step=np.zeros(2)) for t in state.tracks)
    return replace(state, tracks=tuple(still), new_run=True)


def prepare(
    state: LinkState,
    detections: Detections,
    od: NDArray[np.float32],
    valid: Mask,
    settings: LinkSettings,
) -> PreparedFrame:
    """Prepare the next frame for its matches.

    The order matters: the common shift first (it may be tens of pixels while particles move by
    one), then detections are divided and joined where they do not fit the expected masks.
    """
    shift, votes = field_shift(state, detections, settings)
    total = state.shift + shift
    expected = expect(state, total)
    groups = regroup(detections, state.tracks, expected, valid, settings)
    scene = UnlinkedFrame(
        looks=view_detections(groups.detections, od, groups.divided),
        tracks=state.tracks,
        expected=expected,
        gates=gates(state, float(np.hypot(shift[0], shift[1])), settings),
        valid=valid,
    )
    return PreparedFrame(scene=scene, groups=groups, shift=shift, votes=votes, total=total)


def apply_matches(
    state: LinkState,
    ahead: PreparedFrame,
    matches: Mapping[int, Match],
    claims: tuple[Observation, ...],
    settings: LinkSettings,
) -> tuple[LinkState, LinkResult]:
    """Continue the tracks with their matches; what is left over founds particles.

    Parameters
    ----------
    state : state after the frame before.
    matches : by row of the track; those without a detection are left out.
    claims : identities that an earlier look at this frame gave. A particle that is new to `state`
        takes over the one at its place.

    Returns
    -------
    The state after this frame, and the identities in it.
    """
    detections = ahead.groups.detections
    old = _continue(ahead, matches, settings)
    taken = {m.row for m in matches.values()}
    new = _births(state, ahead, (taken, claims), settings)
    after = LinkState(
        tracks=tuple(t for t, _ in old + new if t.state != TrackState.RETIRED),
        next_particle=max([state.next_particle, *(t.particle + 1 for t, _ in new)]),
        shift=ahead.total,
        new_run=state.new_run and len(detections) == 0,
    )
    sightings = tuple(s for _, s in old + new if s is not None)
    return after, LinkResult(
        sightings=sightings, shift=ahead.shift, votes=ahead.votes, detections=detections
    )


def confirm(state: LinkState, measured: Mapping[int, Array], settings: LinkSettings) -> LinkState:
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
    tracks = (
        life.confirm(t, measured[t.particle], state.shift, settings)
        if t.particle in measured
        else t
        for t in state.tracks
    )
    return replace(state, tracks=tuple(tracks))


def _continue(
    ahead: PreparedFrame, matches: Mapping[int, Match], settings: LinkSettings
) -> list[tuple[Track, Observation | None]]:
    """Advance every known track, with what is told about it."""
    scene, total = ahead.scene, ahead.total
    held = _held(ahead.groups, matches)
    out = []
    for row, track in enumerate(scene.tracks):
        match = matches.get(row)
        if match is None:
            after = life.miss(track, settings)
            sighting = _unseen(track, after, scene.expected[row].yx)
        else:
            look = scene.looks[match.row]
            yx = place(track, scene.expected[row], look, scene.valid).yx
            after = life.hit(track, look, yx, total, settings)
            sighting = _seen(after, match, yx, look)
        after = replace(after, apart=track.apart + 1 if row in held else 0)
        out.append((after, sighting))
    return out


def _births(
    state: LinkState,
    ahead: PreparedFrame,
    known: tuple[set[int], tuple[Observation, ...]],
    settings: LinkSettings,
) -> list[tuple[Track, Observation | None]]:
    """Found particles with what is left over, unless it is part of one that is known."""
    taken, claims = known
    living = {track.particle for track in state.tracks}
    free = [c for c in claims if c.particle not in living and c.detection >= 0]
    number = state.next_particle
    born: list[tuple[Track, Observation | None]] = []
    for column, look in enumerate(ahead.scene.looks):
        if column in taken or look.score < settings.min_score:
            continue
        inside = int(ahead.groups.inside[column])
        if inside >= 0 and state.tracks[inside].apart < settings.apart_frames:
            continue
        claim = _nearest(free, look.placed.yx, settings.gate_px)
        if claim is not None:
            free.remove(claim)
        particle = number if claim is None else claim.particle
        number += claim is None
        track = life.birth(particle, look, ahead.total, settings)
        match = Match(row=column, similarity=float("nan"))
        born.append((track, _seen(track, match, look.placed.yx, look)))
    return born


def _held(groups: Regrouped, matches: Mapping[int, Match]) -> frozenset[int]:
    """Tracks whose expected mask holds more than their own detection: they lie in parts."""
    rows = {track: match.row for track, match in matches.items()}
    joined = {track for track, row in rows.items() if row in groups.joined}
    others = {int(t) for n, t in enumerate(groups.inside) if t >= 0 and rows.get(int(t), -1) != n}
    return frozenset(joined | others)


def _seen(track: Track, match: Match, yx: Array, look: DetectionView) -> Observation:
    return Observation(
        particle=track.particle,
        state=track.state,
        detection=match.row,
        yx=yx,
        similarity=match.similarity,
        divided=look.divided,
    )


def _unseen(before: Track, after: Track, yx: Array) -> Observation | None:
    """Coasting is told in every frame, the end of a track once, a tentative one's gap never."""
    if after.state != TrackState.COASTING and after.state == before.state:
        return None
    return Observation(
        particle=after.particle, state=after.state, detection=-1, yx=yx, similarity=float("nan")
    )


def _nearest(claims: list[Observation], yx: Array, gate: float) -> Observation | None:
    near = [(float(np.hypot(*(c.yx - yx))), i) for i, c in enumerate(claims)]
    distance, index = min(near, default=(np.inf, -1))
    return claims[index] if distance <= gate else None


# Voting on the common shift, then optimal assignment on position and shape.


@dataclass(frozen=True, slots=True)
class VotingLinker:
    """The default linker.

    The assignment is within a gate around each prediction that grows while a particle is not seen.
    Intensity takes no part: it changes fourfold over an absorption edge. The structural similarity
    of standardised ROIs is a check on doubtful pairs only.
    """

    settings: LinkSettings

    def init(self) -> LinkState:
        """State before the first frame of a sample."""
        return begin()

    def start_run(self, state: LinkState) -> LinkState:
        """Keep the identities, and search the first frame of the new run more widely."""
        return begin_run(state)

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
        claims : identities that an earlier look at this frame gave. A particle that is new to
            `state` takes over the one at its place.
        valid : (H, W) bool, pixels in which particles can be seen; all if None.

        Returns
        -------
        The state after this frame, and the identities in it.
        """
        valid = np.ones(od.shape, bool) if valid is None else valid
        ahead = prepare(state, detections, od, valid, self.settings)
        scene = ahead.scene
        matches = {
            t: Match(row=n, similarity=similarity(scene.tracks[t].thumbnail, scene.looks[n].view))
            for t, n in assign(scene, self.settings).items()
        }
        return apply_matches(state, ahead, matches, claims, self.settings)

    def confirm(self, state: LinkState, measured: Mapping[int, Array]) -> LinkState:
        """Keep particles that were measured, at (2,) px in the image, without a detection."""
        return confirm(state, measured, self.settings)
