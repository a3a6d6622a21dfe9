"""Voting on the common shift, then optimal assignment on position and shape."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ...models.detections import Detections
from . import life
from .assign import assign, place
from .look import Look, Scene, expect, gates, look_at, positions
from .masks import Mask, similarity
from .settings import LinkSettings
from .touching import Regrouped, regroup
from .tracks import LinkResult, LinkState, Sighting, Track, TrackState
from .voting import common_shift, shape_similarity

Array = NDArray[np.float64]

_SEEN_OFTEN = (TrackState.TRACKED, TrackState.COASTING, TrackState.LOST)
_FIELD = 3  # particles from which one alone does not tell a common shift
_NEAR_MISSES = 3
_DOUBTFUL = 0.3  # support below which the field may have jumped further than it should


@dataclass(frozen=True, slots=True)
class VotingLinker:
    """The default linker.

    The order matters: the common shift first (it may be tens of pixels while particles move by
    one), then detections are divided and joined where they do not fit the expected masks, then the
    assignment within a gate around each prediction that grows while a particle is not seen.
    Intensity takes no part: it changes fourfold over an absorption edge. The structural similarity
    of standardised ROIs is a check on doubtful pairs only.
    """

    settings: LinkSettings

    def init(self) -> LinkState:
        """State before the first frame of a sample."""
        return LinkState(shift=np.zeros(2))

    def start_run(self, state: LinkState) -> LinkState:
        """Keep the identities, and search the first frame of the new run more widely."""
        still = (replace(t, velocity=np.zeros(2), step=np.zeros(2)) for t in state.tracks)
        return replace(state, tracks=tuple(still), new_run=True)

    def update(
        self,
        state: LinkState,
        detections: Detections,
        od: NDArray[np.float32],
        claims: tuple[Sighting, ...] = (),
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
        shift, votes = self._common_shift(state, detections)
        total = state.shift + shift
        expected = expect(state, total)
        groups = regroup(detections, state.tracks, expected, valid, self.settings)
        scene = Scene(
            looks=look_at(groups.detections, od, groups.divided),
            tracks=state.tracks,
            expected=expected,
            gates=gates(state, float(np.hypot(shift[0], shift[1])), self.settings),
            valid=valid,
        )
        match = assign(scene, self.settings)
        old = self._continue(scene, match, total, _held(groups, match))
        new = self._births(state, scene, total, groups, (set(match.values()), claims))
        after = LinkState(
            tracks=tuple(t for t, _ in old + new if t.state != TrackState.RETIRED),
            next_particle=max([state.next_particle, *(t.particle + 1 for t, _ in new)]),
            shift=total,
            new_run=state.new_run and len(detections) == 0,
        )
        sightings = tuple(s for _, s in old + new if s is not None)
        return after, LinkResult(
            sightings=sightings, shift=shift, votes=votes, detections=groups.detections
        )

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
        tracks = (
            life.confirm(t, measured[t.particle], state.shift, self.settings)
            if t.particle in measured
            else t
            for t in state.tracks
        )
        return replace(state, tracks=tuple(tracks))

    def _common_shift(self, state: LinkState, detections: Detections) -> tuple[Array, float]:
        voters = [
            t
            for t in state.tracks
            if t.state in _SEEN_OFTEN and (state.new_run or t.misses <= _NEAR_MISSES)
        ]
        voters = voters or list(state.tracks)
        sure = np.flatnonzero(detections.score >= self.settings.min_score)
        if not voters or len(sure) == 0:
            return np.zeros(2), float("nan")
        weights = shape_similarity(
            np.array([t.area for t in voters]),
            np.array([t.moments for t in voters]),
            detections.area[sure],
            detections.moments[sure],
        )
        # a cut mask has lost its shape and its centre, but is a hint where there is little else
        cut = detections.cut[sure]
        if np.count_nonzero(~cut) >= _FIELD:
            weights = np.where(cut, 0.0, weights)
        else:
            weights = np.maximum(weights, np.where(cut, 0.1, 0.0)[None])
        predicted = positions([t.yx + t.velocity for t in voters]) + state.shift
        field = len(voters) >= _FIELD

        def vote(reach: float, agreeing: int) -> tuple[Array, float]:
            return common_shift(
                predicted,
                detections.yx[sure],
                weights,
                # over the time between two runs the field deforms
                width=self.settings.vote_width_px * (2 if state.new_run else 1),
                max_shift=reach,
                agreeing=agreeing if field else 1,
            )

        far = self.settings.max_jump_new_run_px
        if state.new_run:
            return vote(far, 2)
        shift, support = vote(self.settings.max_jump_px, 2)
        if field and support < _DOUBTFUL:
            further = vote(far, _FIELD)
            if further[1] > 2 * support:
                return further
        return shift, support

    def _continue(
        self, scene: Scene, match: dict[int, int], total: Array, held: frozenset[int]
    ) -> list[tuple[Track, Sighting | None]]:
        """Advance every known track, with what is told about it; `held`: it lies in parts."""
        out = []
        for row, track in enumerate(scene.tracks):
            column = match.get(row, -1)
            if column < 0:
                after = life.miss(track, self.settings)
                sighting = _unseen(track, after, scene.expected[row].yx)
            else:
                look = scene.looks[column]
                yx = place(track, scene.expected[row], look, scene.valid).yx
                after = life.hit(track, look, yx, total, self.settings)
                sighting = _seen(after, column, yx, look, similarity(track.thumbnail, look.view))
            after = replace(after, apart=track.apart + 1 if row in held else 0)
            out.append((after, sighting))
        return out

    def _births(
        self,
        state: LinkState,
        scene: Scene,
        total: Array,
        groups: Regrouped,
        known: tuple[set[int], tuple[Sighting, ...]],
    ) -> list[tuple[Track, Sighting | None]]:
        """Found particles with what is left over, unless it is part of one that is known."""
        taken, claims = known
        living = {track.particle for track in state.tracks}
        free = [c for c in claims if c.particle not in living and c.detection >= 0]
        number = state.next_particle
        born: list[tuple[Track, Sighting | None]] = []
        for column, look in enumerate(scene.looks):
            if column in taken or look.score < self.settings.min_score:
                continue
            if self._is_part(state, int(groups.inside[column])):
                continue
            claim = _nearest(free, look.placed.yx, self.settings.gate_px)
            if claim is not None:
                free.remove(claim)
            particle = number if claim is None else claim.particle
            number += claim is None
            track = life.birth(particle, look, total, self.settings)
            born.append((track, _seen(track, column, look.placed.yx, look, float("nan"))))
        return born

    def _is_part(self, state: LinkState, row: int) -> bool:
        return row >= 0 and state.tracks[row].apart < self.settings.apart_frames


def _held(groups: Regrouped, match: dict[int, int]) -> frozenset[int]:
    """Tracks whose expected mask holds more than the detection that is theirs."""
    joined = {track for track, column in match.items() if column in groups.joined}
    others = {int(t) for n, t in enumerate(groups.inside) if t >= 0 and match.get(int(t), -1) != n}
    return frozenset(joined | others)


def _seen(track: Track, column: int, yx: Array, look: Look, likeness: float) -> Sighting:
    return Sighting(
        particle=track.particle,
        state=track.state,
        detection=column,
        yx=yx,
        similarity=likeness,
        divided=look.divided,
    )


def _unseen(before: Track, after: Track, yx: Array) -> Sighting | None:
    """Coasting is told in every frame, the end of a track once, a tentative one's gap never."""
    if after.state != TrackState.COASTING and after.state == before.state:
        return None
    return Sighting(
        particle=after.particle, state=after.state, detection=-1, yx=yx, similarity=float("nan")
    )


def _nearest(claims: list[Sighting], yx: Array, gate: float) -> Sighting | None:
    near = [(float(np.hypot(*(c.yx - yx))), i) for i, c in enumerate(claims)]
    distance, index = min(near, default=(np.inf, -1))
    return claims[index] if distance <= gate else None
