"""Voting on the common shift, then optimal assignment on position and shape."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from ...models.detections import Detections
from .masks import crop_mask, overlap, similarity, thumbnails
from .settings import LinkSettings
from .tracks import LinkResult, LinkState, Sighting, Track, TrackState
from .voting import common_shift, shape_similarity

_IMPOSSIBLE = 1e6
_SEEN_OFTEN = (TrackState.TRACKED, TrackState.COASTING, TrackState.LOST)


@dataclass(frozen=True, slots=True)
class VotingLinker:
    """The default linker.

    The order matters: the common shift first (it may be tens of pixels while particles move by
    one), then a gate around each prediction that grows while a particle is not seen, then the
    Hungarian assignment (doi 10.1002/nav.3800020109) on distance, mask overlap and area. Intensity
    takes no part: it changes fourfold over an absorption edge. The structural similarity of
    standardised ROIs is a check on doubtful pairs only.
    """

    settings: LinkSettings

    def init(self) -> LinkState:
        """State before the first frame of a sample."""
        return LinkState(shift=np.zeros(2))

    def start_run(self, state: LinkState) -> LinkState:
        """Keep the identities, and search the first frame of the new run more widely."""
        return replace(state, new_run=True)

    def update(
        self,
        state: LinkState,
        detections: Detections,
        od: NDArray[np.float32],
        claims: tuple[Sighting, ...] = (),
    ) -> tuple[LinkState, LinkResult]:
        """Link the detections of the next frame.

        Parameters
        ----------
        state : state after the frame before.
        detections : N detections of this frame.
        od : (H, W) float32, the frame as optical density.
        claims : identities that an earlier look at this frame gave. A particle that is new to
            `state` takes over the one at its place.

        Returns
        -------
        The state after this frame, and the identities in it.
        """
        views = thumbnails(od, detections)
        shift, votes = self._common_shift(state, detections)
        total = state.shift + shift
        predicted = _positions(state.tracks) + total
        gates = self._gates(state, float(np.hypot(shift[0], shift[1])))
        match = self._assign(state, detections, views, predicted, gates)
        tracks: list[Track] = []
        sightings: list[Sighting] = []
        for row, track in enumerate(state.tracks):
            column = match.get(row, -1)
            if column < 0:
                moved = self._miss(track)
                seen = Sighting(
                    particle=track.particle,
                    state=moved.state,
                    detection=-1,
                    yx=predicted[row],
                    similarity=float("nan"),
                )
            else:
                moved = self._hit(track, detections, column, views[column], total)
                seen = Sighting(
                    particle=track.particle,
                    state=moved.state,
                    detection=column,
                    yx=detections.yx[column],
                    similarity=similarity(track.thumbnail, views[column]),
                )
            # a lost particle is told once, not in every frame until it retires
            if column >= 0 or moved.state == TrackState.COASTING or moved.state != track.state:
                sightings.append(seen)
            if moved.state != TrackState.RETIRED:
                tracks.append(moved)
        born = self._births(state, detections, set(match.values()), claims)
        for column, particle in born.items():
            track = self._birth(particle, detections, column, views[column], total)
            tracks.append(track)
            sightings.append(
                Sighting(
                    particle=particle,
                    state=track.state,
                    detection=column,
                    yx=detections.yx[column],
                    similarity=float("nan"),
                )
            )
        after = LinkState(
            tracks=tuple(tracks),
            next_particle=max([state.next_particle, *(p + 1 for p in born.values())]),
            shift=total,
            new_run=state.new_run and len(detections) == 0,
        )
        return after, LinkResult(sightings=tuple(sightings), shift=shift, votes=votes)

    def _common_shift(
        self, state: LinkState, detections: Detections
    ) -> tuple[NDArray[np.float64], float]:
        voters = [t for t in state.tracks if t.state in _SEEN_OFTEN and t.misses <= 3]
        voters = voters or list(state.tracks)
        if not voters or len(detections) == 0:
            return np.zeros(2), float("nan")
        weights = shape_similarity(
            np.array([t.area for t in voters]),
            np.array([t.moments for t in voters]),
            detections.area,
            detections.moments,
        )
        # a cut mask has lost its shape, but is still a hint
        weights = np.maximum(weights, np.where(detections.cut, 0.1, 0.0)[None])
        limit = self.settings.max_jump_new_run_px if state.new_run else self.settings.max_jump_px
        return common_shift(
            _positions(voters) + state.shift,
            detections.yx,
            weights,
            width=self.settings.vote_width_px,
            max_shift=limit,
        )

    def _gates(self, state: LinkState, jump: float) -> NDArray[np.float64]:
        base = self.settings.gate_new_run_px if state.new_run else self.settings.gate_px
        misses = np.array([t.misses for t in state.tracks], dtype=float)
        size = np.sqrt(np.array([t.area for t in state.tracks]))
        # masks of large particles wander in proportion to their size
        gates = np.maximum(base, 0.08 * size) + self.settings.gate_growth_px * misses
        gates += self.settings.gate_per_jump * jump
        return np.minimum(gates, self.settings.gate_max_px)

    def _assign(
        self,
        state: LinkState,
        detections: Detections,
        views: NDArray[np.float32],
        predicted: NDArray[np.float64],
        gates: NDArray[np.float64],
    ) -> dict[int, int]:
        if not state.tracks or len(detections) == 0:
            return {}
        offset = detections.yx[None] - predicted[:, None]
        distance = np.hypot(offset[..., 0], offset[..., 1])
        cost = np.full(distance.shape, _IMPOSSIBLE)
        # a cut mask moves its centre by up to half of what is missing
        slack = np.where(detections.cut, 0.25 * np.sqrt(detections.area), 0.0)
        for row, column in np.argwhere(distance <= gates[:, None] + slack[None]):
            scaled = distance[row, column] / gates[row]
            cost[row, column] = self._pair_cost(
                state.tracks[row], detections, int(column), views[column], float(scaled)
            )
        rows, columns = linear_sum_assignment(cost)
        return {
            int(r): int(c) for r, c in zip(rows, columns, strict=True) if cost[r, c] < _IMPOSSIBLE
        }

    def _pair_cost(
        self,
        track: Track,
        detections: Detections,
        column: int,
        view: NDArray[np.float32],
        distance: float,
    ) -> float:
        log_area = abs(np.log(detections.area[column] / max(track.area, 1.0)))
        cut = bool(detections.cut[column])
        if log_area > np.log(self.settings.max_area_ratio) * (2.0 if cut else 1.0):
            return _IMPOSSIBLE
        mask, mask_yx = crop_mask(detections, column)
        iou = overlap(track.mask, track.mask_yx, mask, mask_yx)
        doubtful = iou < 0.5 or distance > 0.7
        if doubtful and similarity(track.thumbnail, view) < self.settings.min_ssim:
            return _IMPOSSIBLE
        tentative = 0.3 if track.state == TrackState.TENTATIVE else 0.0
        return distance**2 + 2.0 * (1.0 - iou) + (log_area / 0.3) ** 2 * 0.5 + tentative

    def _hit(
        self,
        track: Track,
        detections: Detections,
        column: int,
        view: NDArray[np.float32],
        total: NDArray[np.float64],
    ) -> Track:
        mask, mask_yx = crop_mask(detections, column)
        hits = track.hits + 1
        known = track.state != TrackState.TENTATIVE or hits >= self.settings.confirm_frames
        # the shape of a cut mask is not the shape of the particle: keep what is known
        keep = 1.0 if detections.cut[column] and track.hits > 1 else 0.7
        thumbnail = (0.8 * track.thumbnail + 0.2 * view).astype(np.float32)
        return replace(
            track,
            state=TrackState.TRACKED if known else TrackState.TENTATIVE,
            yx=detections.yx[column] - total,
            area=keep * track.area + (1 - keep) * float(detections.area[column]),
            moments=keep * track.moments + (1 - keep) * detections.moments[column],
            mask=mask,
            mask_yx=mask_yx,
            thumbnail=thumbnail / max(float(thumbnail.std()), 1e-6),
            hits=hits,
            misses=0,
        )

    def _miss(self, track: Track) -> Track:
        misses = track.misses + 1
        if track.state == TrackState.TENTATIVE or misses > self.settings.lost_frames:
            state = TrackState.RETIRED
        elif misses > self.settings.coast_frames:
            state = TrackState.LOST
        else:
            state = TrackState.COASTING
        return replace(track, state=state, misses=misses)

    def _births(
        self,
        state: LinkState,
        detections: Detections,
        taken: set[int],
        claims: tuple[Sighting, ...],
    ) -> dict[int, int]:
        """Identity of each detection that founds a particle."""
        columns = [
            column
            for column in range(len(detections))
            if column not in taken and detections.score[column] >= self.settings.min_score
        ]
        living = {track.particle for track in state.tracks}
        free = [c for c in claims if c.particle not in living and c.detection >= 0]
        born: dict[int, int] = {}
        number = state.next_particle
        for column in columns:
            claim = _nearest(free, detections.yx[column], self.settings.gate_px)
            if claim is not None:
                free.remove(claim)
                born[column] = claim.particle
            else:
                born[column] = number
                number += 1
        return born

    def _birth(
        self,
        particle: int,
        detections: Detections,
        column: int,
        view: NDArray[np.float32],
        total: NDArray[np.float64],
    ) -> Track:
        mask, mask_yx = crop_mask(detections, column)
        once = self.settings.confirm_frames <= 1
        return Track(
            particle=particle,
            state=TrackState.TRACKED if once else TrackState.TENTATIVE,
            yx=detections.yx[column] - total,
            area=float(detections.area[column]),
            moments=detections.moments[column],
            mask=mask,
            mask_yx=mask_yx,
            thumbnail=view,
            hits=1,
            misses=0,
        )


def _nearest(claims: list[Sighting], yx: NDArray[np.float64], gate: float) -> Sighting | None:
    near = [(float(np.hypot(*(c.yx - yx))), i) for i, c in enumerate(claims)]
    distance, index = min(near, default=(np.inf, -1))
    return claims[index] if distance <= gate else None


def _positions(tracks: tuple[Track, ...] | list[Track]) -> NDArray[np.float64]:
    return np.array([t.yx for t in tracks], dtype=np.float64).reshape(-1, 2)
