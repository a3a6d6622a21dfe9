"""Place the particles of an electrode, move them, and let some of them come and go."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d

from ....models.arrays import Array
from .settings import SimSettings
from .shapes import Body, make_body

# By eye.
_GAP = 4.0  # px between particles
_CANDIDATES = 400  # places tried before a particle shrinks
_SHRINK = 0.9


@dataclass(frozen=True, slots=True, kw_only=True)
class CommonMotion:
    """Motion that all particles share, for F frames.

    Attributes
    ----------
    shift : (F, 2) rigid motion (y, x), px: drift and jitter together.
    drift : (F, 2) its slow part, px.
    linear : (F, 2, 2) linear map of the electrode in (y, x), without magnification.
    strain : (F, 4) strain yy, xx, yx (1) and rotation (rad) behind `linear`.
    """

    shift: Array
    drift: Array
    linear: Array
    strain: Array


def _smooth_walk(rng: np.random.Generator, n: int, reach: float) -> Array:
    """Draw a smooth random path in the plane that starts at 0.

    Parameters
    ----------
    rng : source of randomness.
    n : number of frames.
    reach : largest distance from the start, px.

    Returns
    -------
    (n, 2) float64, px.
    """
    if n < 2 or reach == 0:
        return np.zeros((n, 2))
    steps = gaussian_filter1d(rng.standard_normal((n, 2)), max(1.0, n / 12), axis=0, mode="nearest")
    steps += rng.standard_normal(2) * np.abs(steps).mean()
    path = np.cumsum(steps, axis=0)
    path -= path[0]
    return path * reach / np.linalg.norm(path, axis=1).max()


def _random_steps(settings: SimSettings, index: int) -> Array:
    """Draw the random walk of a particle, (F, 2) px, 0 in the first of the F frames.

    Steps are normal, those beyond three standard deviations are cut to them.
    """
    rng = np.random.default_rng([settings.seed, 12, index])
    steps = np.clip(rng.standard_normal((settings.n_frames, 2)), -3, 3) * settings.steps_px
    steps[0] = 0.0
    return np.cumsum(steps, axis=0)


def ramp(n: int) -> Array:
    """Rise from 0 to 1 over n frames with a slow start and end, (n,)."""
    return 0.5 - 0.5 * np.cos(np.pi * np.linspace(0, 1, n)) if n > 1 else np.zeros(n)


def rotation(angle: Array) -> Array:
    """Return rotation matrices (..., 2, 2) in (y, x) for angles in rad (+ turns x towards y)."""
    c, s = np.cos(angle), np.sin(angle)
    return np.stack([np.stack([c, s], -1), np.stack([-s, c], -1)], -2)


def common_motion(
    settings: SimSettings, rng: np.random.Generator, trace: Array | None = None
) -> CommonMotion:
    """Draw drift, jitter and affine deformation of the whole series.

    Parameters
    ----------
    settings : what to simulate.
    rng : source of randomness.
    trace : (>= F, 2) measured motion (y, x), px, that replaces drift and jitter.

    Raises
    ------
    ValueError
        If the trace is shorter than the series.
    """
    n = settings.n_frames
    drift = _smooth_walk(rng, n, settings.drift_px)
    jitter = np.clip(rng.standard_normal((n, 2)), -3, 3) * settings.jitter_px
    jitter[:1] = 0.0
    shift = drift + jitter + _jumps(settings)
    if trace is not None:
        if len(trace) < n:
            raise ValueError(
                f"motion trace: wanted {n} frames or more, got {len(trace)}; use a longer one"
            )
        shift = np.asarray(trace[:n], dtype=np.float64)
        shift = shift - shift[0]
        drift = gaussian_filter1d(shift, max(1.0, n / 20), axis=0, mode="nearest")
    yy, xx, yx = settings.strain
    progress = ramp(n)
    strain = progress[:, None] * np.array([yy, xx, yx, np.radians(settings.rotation_deg)])
    stretch = np.eye(2) + progress[:, None, None] * np.array([[yy, yx], [yx, xx]])
    return CommonMotion(
        shift=shift, drift=drift, linear=rotation(strain[:, 3]) @ stretch, strain=strain
    )


def _jumps(settings: SimSettings) -> Array:
    """Draw where the field lies in each scan after the stage came back from elsewhere, (F, 2)."""
    rng = np.random.default_rng([settings.seed, 11])
    jumps = settings.scan_jump_px * np.clip(rng.standard_normal((settings.scans, 2)), -2, 2)
    jumps[0] = 0.0
    return np.repeat(jumps, len(settings.scan_energies), axis=0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Actor:
    """One particle and its own motion and chemistry.

    Attributes
    ----------
    body : its shape and chemistry.
    home : (2,) position relative to the frame centre in the undeformed electrode, px.
    walk : (F, 2) own motion, px.
    present : (F,) bool, False while it has no contrast (hidden, not yet or no longer there).
    fraction : (F,) mean oxidised share.
    """

    body: Body
    home: Array
    walk: Array
    present: NDArray[np.bool_]
    fraction: Array


@dataclass(frozen=True, slots=True, kw_only=True)
class _Slot:
    body: Body
    home: Array
    occupied: Array
    partner: int | None = None


@dataclass(frozen=True, slots=True)
class _Room:
    """Rectangle of allowed centres for a particle of no extent, relative to the frame centre.

    `reach` is how far a particle may get from its place by itself, px.
    """

    low: Array
    high: Array
    reach: float

    def draw(self, rng: np.random.Generator, reach: float) -> Array:
        low, high = self.low + reach, self.high - reach
        middle = (low + high) / 2
        low, high = np.minimum(low, middle), np.maximum(high, middle)
        return rng.uniform(low, high, (_CANDIDATES, 2))

    def fits(self, home: Array, reach: float) -> bool:
        return bool(np.all(home - reach >= self.low) and np.all(home + reach <= self.high))


def place_all(settings: SimSettings, motion: CommonMotion, stretch: Array) -> list[Actor]:
    """Draw all particles and place them without overlap.

    A particle that finds no room shrinks by a tenth until it does. Particles that come or go have
    a free corridor to the nearest side of the frame.

    Parameters
    ----------
    settings : what to simulate.
    motion : what all particles do.
    stretch : (F, 2, 2) linear map with magnification.
    """
    room = _room(settings, motion, stretch)
    movers = settings.births + settings.departures
    slots: list[_Slot] = []
    for i in range(movers + settings.n_particles):
        slots.append(_slot(settings, room, slots, i, mover=i < movers))
    order = [*range(movers, len(slots)), *range(movers)]
    walks = _walks(settings, slots)
    return [
        _actor(settings, slots[i], walks[i], rank, i - settings.births if i < movers else None)
        for rank, i in enumerate(order)
    ]


def _half(settings: SimSettings) -> Array:
    return (np.array(settings.shape, dtype=np.float64) - 1) / 2


def _room(settings: SimSettings, motion: CommonMotion, stretch: Array) -> _Room:
    half = _half(settings)
    # how far a particle may get from its place by its own motion
    count = settings.births + settings.departures + settings.n_particles
    walks = [_random_steps(settings, index) for index in range(count)]
    far = max((np.linalg.norm(walk, axis=1).max() for walk in walks), default=0.0)
    reach = settings.wander_px + far
    if settings.allow_cut:
        return _Room(-half * 0.97, half * 0.97, reach)
    deform = np.linalg.norm(stretch - np.eye(2), ord=2, axis=(1, 2)).max() * np.hypot(*half)
    rim = deform + reach + 3 * settings.psf_px + 1
    low, high = motion.shift.min(axis=0), motion.shift.max(axis=0)
    return _Room(-half + rim - low, half - rim - high, reach)


def _body(settings: SimSettings, index: int, scale: float) -> Body:
    rng = np.random.default_rng([settings.seed, 2, index])
    low, high = settings.radius_px
    radius = rng.uniform(low, high) * scale
    od = 1.5 * settings.edge_od * 2 * radius / (low + high) * rng.uniform(0.85, 1.15)
    return make_body(rng, radius, od, settings.irregularity, settings.chemistry)


def _slot(
    settings: SimSettings, room: _Room, taken: list[_Slot], index: int, *, mover: bool
) -> _Slot:
    rng = np.random.default_rng([settings.seed, 3, index])
    partner = None if mover else _partner(settings, rng, taken)
    scale = 1.0
    while True:
        body = _body(settings, index, scale)
        if partner is not None:
            homes = _beside(rng, body, taken[partner])
        else:
            homes = room.draw(rng, 0.0 if settings.allow_cut else body.reach)
        if mover:
            # A short way out, so that nothing races through the frame.
            homes = homes[np.argsort(-np.max(np.abs(homes) - _half(settings), axis=1))]
        for home in homes:
            path = _corridor(settings, home, body) if mover else home[None]
            ok = settings.allow_cut or partner is None or room.fits(home, body.reach)
            if ok and _free(room.reach, path, body, taken, partner):
                return _Slot(body=body, home=home, occupied=path, partner=partner)
        scale *= _SHRINK


def _partner(settings: SimSettings, rng: np.random.Generator, taken: list[_Slot]) -> int | None:
    movers = settings.births + settings.departures
    alone = set(range(movers, len(taken))) - {s.partner for s in taken}
    alone -= {i for i, s in enumerate(taken) if s.partner is not None}
    # Every touching pair makes two particles touch, hence the half.
    if alone and rng.random() < settings.touching / max(2 - settings.touching, 1):
        return int(rng.choice(sorted(alone)))
    return None


def _beside(rng: np.random.Generator, body: Body, other: _Slot) -> Array:
    u = np.exp(2j * np.pi * rng.random(_CANDIDATES))
    distance = other.body.outline(u) + body.outline(-u) - 1.5
    z = u * distance - other.body.centre + body.centre
    return other.home + np.stack([z.imag, z.real], 1)


def _corridor(settings: SimSettings, home: Array, body: Body) -> Array:
    half = _half(settings)
    axis = int(np.argmax(np.abs(home) - half))
    far = home.copy()
    side = 1.0 if home[axis] >= 0 else -1.0
    far[axis] = side * (half[axis] + body.reach + 3 * settings.jitter_px + settings.drift_px + 8)
    steps = max(2, int(np.linalg.norm(far - home) / 4))
    return home + np.linspace(0, 1, steps)[:, None] * (far - home)


def _free(reach: float, path: Array, body: Body, taken: list[_Slot], partner: int | None) -> bool:
    for i, other in enumerate(taken):
        if i == partner:
            continue
        gap = body.reach + other.body.reach + 2 * reach + _GAP
        difference = path[:, None] - other.occupied[None]
        if (np.einsum("ijk,ijk->ij", difference, difference) < gap * gap).any():
            return False
    return True


def _walks(settings: SimSettings, slots: list[_Slot]) -> list[Array]:
    """Draw the motion of each slot; touching particles share theirs, else they would overlap."""
    first = settings.births + settings.departures
    walks: list[Array] = []
    for i, slot in enumerate(slots):
        rng = np.random.default_rng([settings.seed, 4, i])
        reach = settings.wander_px * rng.uniform(0.4, 1.0)
        own = _smooth_walk(rng, settings.n_frames, reach) + _random_steps(settings, i)
        if first <= i < first + settings.rigid:
            own = np.zeros_like(own)
        walks.append(own if slot.partner is None else walks[slot.partner])
    return walks


def _actor(settings: SimSettings, slot: _Slot, walk: Array, rank: int, going: int | None) -> Actor:
    """Choreograph one particle; `going` < 0 for a birth, >= 0 a departure, None a resident."""
    n = settings.n_frames
    rng = np.random.default_rng([settings.seed, 5, rank])
    present = np.ones(n, bool)
    if going is not None:
        away = _away(n, rng, born=going < 0)
        walk = walk + away[:, None] * (slot.occupied[-1] - slot.home)
        present = away < 1
    elif rank < settings.hidden:
        start = int(rng.uniform(0.3, 0.6) * n)
        present[start : start + settings.hidden_frames] = False
    low, high = settings.charge
    fraction = low + (high - low) * np.linspace(0, 1, n) + rng.uniform(-0.08, 0.08)
    return Actor(
        body=slot.body,
        home=slot.home,
        walk=walk,
        present=present,
        fraction=np.clip(fraction, 0.02, 0.98),
    )


def _away(n: int, rng: np.random.Generator, *, born: bool) -> Array:
    """Draw how far a particle is away: 1 where it is outside, 0 at home, (n,)."""
    length = max(2, n // 4)
    start = int(rng.uniform(0.1, 0.9) * max(n - length, 1))
    away = np.zeros(n)
    rise = ramp(length)[: n - start]
    away[start : start + len(rise)] = rise
    away[start + length :] = 1.0
    return 1.0 - away if born else away
