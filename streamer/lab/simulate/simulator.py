"""Simulate a microscope: a charging, deforming electrode seen by a noisy camera."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ....models.arrays import Array, Image
from .electrode import Actor, common_motion, place_all, ramp, rotation
from .light import Camera, brightness, haze, make_background, make_illumination
from .raster import Patch, PlacedParticle, blur, body_points, box_of, draw, draw_patch
from .settings import SimSettings
from .spectra import OXIDISED, REDUCED, absorption
from .truth import Truth


@dataclass(frozen=True, slots=True, kw_only=True)
class _Poses:
    """N frames: (N, P, 2) positions, (N, P, 2, 2) body maps, (N, 2, 2) map of the electrode."""

    yx: Array
    body: Array
    linear: Array
    shift: Array


class Simulator:
    """A seeded microscope; every image is a pure function of the settings and its arguments.

    `frame` counts time: the state of the electrode after so many energies. Energy and stage
    position may be given freely, else they are those of a regular series of scans.

    Parameters
    ----------
    settings : of the simulation.
    trace : (>= F, 2) measured motion (y, x), px, in place of drift and jitter.
    """

    def __init__(self, settings: SimSettings | None = None, trace: Array | None = None) -> None:
        self.settings = settings = settings or SimSettings()
        self.energies = np.tile(np.array(settings.scan_energies), settings.scans)
        rng = np.random.default_rng([settings.seed, 1])
        self._motion = common_motion(settings, rng, trace)
        scale = self.magnification(self.energies)
        stretch = self._motion.linear * scale[:, None, None]
        self._actors: list[Actor] = place_all(settings, self._motion, stretch)
        self._progress = ramp(self.n_frames)
        self._background = make_background(settings)
        self._illumination = make_illumination(settings)
        self._camera = Camera(settings)

    @property
    def n_frames(self) -> int:
        """Return the number of frames in the series."""
        return len(self.energies)

    @property
    def n_particles(self) -> int:
        """Return the number of particles that exist at some time."""
        return len(self._actors)

    def magnification(self, energies: ArrayLike) -> Array:
        """Return the magnification relative to the first energy of a scan; energies in eV."""
        first = self.settings.scan_energies[0]
        return 1 + self.settings.magnification_per_ev * (np.asarray(energies, float) - first)

    def dark(self, n: int = 1) -> NDArray[np.uint16]:
        """Take images without light, (n, H, W) uint16."""
        return self._camera.expose(np.zeros(self.settings.shape, np.float32), n, (0, 0))

    def flat(self, frame: int, n: int = 1, *, energy: float | None = None) -> NDArray[np.uint16]:
        """Take images without the sample, (n, H, W) uint16."""
        return self._camera.expose(self.flat_light(frame, energy=energy), n, (1, frame))

    def exposures(
        self,
        frame: int,
        n: int | None = None,
        *,
        energy: float | None = None,
        stage_yx: ArrayLike = (0.0, 0.0),
    ) -> NDArray[np.uint16]:
        """Take images of the sample, (n, H, W) uint16.

        Parameters
        ----------
        frame : time index of the sample.
        n : exposures, the chunk of the settings if None.
        energy : eV, that of the series if None.
        stage_yx : where the stage puts the sample, px.
        """
        energy = self._energy(frame, energy)
        s = self.settings
        light = self.sample_light(frame, energy=energy)
        light *= np.exp(-self.render(frame, energy, stage_yx))
        return self._camera.expose(light, s.chunk if n is None else n, (2, frame))

    def od(self, frame: int) -> Image:
        """Render the noise-free optical density of a frame of the series, (H, W) float32."""
        return self.render(frame, float(self.energies[frame]))

    def render(self, frame: int, energy: float, stage_yx: ArrayLike = (0.0, 0.0)) -> Image:
        """Render the noise-free optical density at any energy and stage position.

        Parameters
        ----------
        frame : time index of the sample.
        energy : eV.
        stage_yx : where the stage puts the sample, px.

        Returns
        -------
        (H, W) float32; blurred by the PSF as intensity, as a detector sees it.
        """
        poses = self._poses(np.array([frame]), np.array([energy]), np.atleast_2d(stage_yx))
        od = np.zeros(self.settings.shape, np.float32)
        boxes = []
        for one in self._scene(frame, energy, poses).values():
            box = box_of(one.body, one.yx, one.linear, od.shape)
            if box is not None:
                od[box] += draw(one.body, one.yx, one.linear, box, one.chemistry)
                boxes.append(box)
        blur(od, boxes, self.settings.psf_px)
        od += self._surroundings(frame, energy, poses)
        return od

    def patches(self, frame: int, moves: ArrayLike, margin: float = 8.0) -> Iterator[Patch]:
        """Render each particle of a frame of the series, moved off its place, without noise.

        Parameters
        ----------
        frame : of the series.
        moves : (M, 2) how far it is moved while all else stays, (y, x) px; a fraction of a px.
        margin : what is shown around it, px.
        """
        energy = float(self.energies[frame])
        poses = self._poses(np.array([frame]), np.array([energy]), np.zeros((1, 2)))
        scene = self._scene(frame, energy, poses)
        background = self._surroundings(frame, energy, poses)
        optics = {"margin": margin, "psf": self.settings.psf_px}
        for i in scene:
            patch = draw_patch(scene, i, np.atleast_2d(moves), background, **optics)
            if patch is not None:
                yield patch

    def mask(self, frame: int, particle: int) -> NDArray[np.bool_]:
        """Return the silhouette of a particle (where its thickness is not 0), (H, W) bool."""
        poses = self._poses(np.array([frame]), self.energies[[frame]], np.zeros((1, 2)))
        mask = np.zeros(self.settings.shape, bool)
        actor, yx, linear = self._actors[particle], poses.yx[0, particle], poses.body[0, particle]
        box = box_of(actor.body, yx, linear, mask.shape) if actor.present[frame] else None
        if box is not None:
            mask[box] = actor.body.inside(body_points(yx, linear, box))
        return mask

    def oxidised(self, frame: int, particle: int) -> Image:
        """Return the oxidised share (H, W) under each pixel, NaN beside the particle."""
        poses = self._poses(np.array([frame]), self.energies[[frame]], np.zeros((1, 2)))
        share = np.full(self.settings.shape, np.nan, np.float32)
        placed = self._scene(frame, float(self.energies[frame]), poses).get(particle)
        box = None if placed is None else box_of(placed.body, placed.yx, placed.linear, share.shape)
        if placed is not None and box is not None:
            points = body_points(placed.yx, placed.linear, box)
            inside = placed.body.inside(points)
            share[box] = np.where(inside, placed.body.fraction(points, placed.chemistry[0]), np.nan)
        return share

    @cached_property
    def truth(self) -> Truth:
        """Return the truth of the regular series: each frame at its energy, the stage at rest."""
        frames = np.arange(self.n_frames)
        return self.truth_of(frames, self.energies, np.zeros((self.n_frames, 2)))

    def truth_of(self, frames: ArrayLike, energies: ArrayLike, stage_yx: ArrayLike) -> Truth:
        """Return the truth of images taken in any order, at any energy and stage position.

        Parameters
        ----------
        frames : (N,) time index of the sample.
        energies : (N,) eV.
        stage_yx : (N, 2) px.
        """
        t = np.atleast_1d(np.asarray(frames, dtype=np.int64))
        e = np.atleast_1d(np.asarray(energies, dtype=np.float64))
        stage = np.atleast_2d(np.asarray(stage_yx, dtype=np.float64))
        poses = self._poses(t, e, stage)
        low, high = self._extent(poses)
        last = np.array(self.settings.shape) - 0.5
        particles = (self.n_particles, len(t))
        present = np.array([a.present[t] for a in self._actors], bool).reshape(particles).T
        fraction = np.array([a.fraction[t] for a in self._actors]).reshape(particles).T
        peak = np.array([a.body.od for a in self._actors])
        reduced, oxidised = (mu[:, None] for mu in self._absorption(e))
        return Truth(
            frame=t,
            energies=e,
            yx=poses.yx,
            present=present,
            visible=present & np.all((high > -0.5) & (low < last), axis=-1),
            cut=np.any((low < -0.5) | (high > last), axis=-1),
            drift=self._motion.drift[t],
            shift=self._motion.shift[t],
            stage=stage,
            strain=self._motion.strain[t],
            magnification=self.magnification(e),
            radius=np.array([a.body.radius for a in self._actors]),
            fraction=fraction,
            # The mean of sqrt(1 - rho^2) over the silhouette is 2/3 whatever the contour.
            od=peak * (reduced + fraction * (oxidised - reduced)) * 2 / 3,
            shape=np.array(self.settings.shape),
        )

    def sample_light(self, frame: int, *, energy: float | None = None) -> Image:
        """Return expected counts (H, W) of a sample image, if nothing were in the beam."""
        s = self.settings
        light = self._illumination.at(self._energy(frame, energy), self._lag(frame))
        counts = np.float32(s.counts * s.exposure / s.flat_exposure)
        return light * counts * brightness(s, frame)

    def flat_light(self, frame: int, *, energy: float | None = None) -> Image:
        """Return expected counts (H, W) of one flat image."""
        light = self._illumination.at(self._energy(frame, energy))
        return light * np.float32(self.settings.counts) * brightness(self.settings, frame)

    def _absorption(self, energy: Array) -> tuple[Array, Array]:
        """Return the relative absorption of the reduced and the oxidised state."""
        pre_edge = self.settings.pre_edge
        return absorption(energy, REDUCED, pre_edge), absorption(energy, OXIDISED, pre_edge)

    def _lag(self, frame: int) -> Array:
        """Draw the motion (y, x) of the beam from a flat to its sample image, px."""
        rng = np.random.default_rng([self.settings.seed, 10, frame])
        return self.settings.flat_lag_px * rng.standard_normal(2)

    def _energy(self, frame: int, energy: float | None) -> float:
        return float(self.energies[frame] if energy is None else energy)

    def _surroundings(self, frame: int, energy: float, poses: _Poses) -> Image:
        """Render the optical density of all but the particles, (H, W)."""
        od = self._background.od(poses.linear[0], poses.shift[0], energy)
        changing = haze(self.settings, frame)
        return od if changing is None else od + changing

    def _scene(self, frame: int, energy: float, poses: _Poses) -> dict[int, PlacedParticle]:
        """Place the particles that have contrast in the pose number 0."""
        reduced, oxidised = self._absorption(np.array(energy))
        return {
            i: PlacedParticle(
                body=actor.body,
                yx=poses.yx[0, i],
                linear=poses.body[0, i],
                chemistry=(
                    float(actor.body.front_for(actor.fraction[frame])),
                    float(reduced),
                    float(oxidised),
                ),
            )
            for i, actor in enumerate(self._actors)
            if actor.present[frame]
        }

    def _poses(self, t: NDArray[np.int64], energies: Array, stage: Array) -> _Poses:
        """Compute the poses of all particles in N frames."""
        linear = self._motion.linear[t] * self.magnification(energies)[:, None, None]
        shift = self._motion.shift[t] + stage
        home = np.array([a.home for a in self._actors]).reshape(-1, 2)
        walk = np.array([a.walk[t] for a in self._actors]).reshape(-1, len(t), 2)
        own = walk.swapaxes(0, 1) * self.magnification(energies)[:, None, None]
        centre = (np.array(self.settings.shape) - 1) / 2
        yx = np.einsum("nij,pj->npi", linear, home) + own + (centre + shift)[:, None]
        spin = np.radians(self.settings.spin_deg) * self._progress[t]
        own_spin = np.array([a.body.spin for a in self._actors])
        turn = rotation(spin[:, None] * own_spin[None])
        return _Poses(yx=yx, body=linear[:, None] @ turn, linear=linear, shift=shift)

    def _extent(self, poses: _Poses) -> tuple[Array, Array]:
        """Return the bounds (N, P, 2) of each silhouette."""
        outlines = np.array([a.body.points(180) for a in self._actors]).reshape(-1, 180, 2)
        at = np.einsum("npij,pkj->npki", poses.body, outlines)
        return poses.yx + at.min(axis=2), poses.yx + at.max(axis=2)
