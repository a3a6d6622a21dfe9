"""Patches are cut-outs of the rendered frame, and only the one particle moves in them."""

from __future__ import annotations

import numpy as np
import pytest

from operando.streamer.lab.simulate import SimSettings, Simulator


def scene(**changes):
    return Simulator(SimSettings(**{"n_energies": 3, "shape": (220, 220), "seed": 4, **changes}))


@pytest.mark.parametrize(
    "changes",
    [
        {"n_particles": 3},
        {"n_particles": 5, "touching": 1.0, "radius_px": (15.0, 22.0)},
        {"n_particles": 5, "allow_cut": True},
        {"n_particles": 2, "psf_px": 0.0},
    ],
)
def test_at_rest_a_patch_is_a_part_of_the_frame(changes):
    sim = scene(**changes)
    frame = sim.od(1)
    patches = list(sim.patches(1, (0.0, 0.0)))
    assert [p.particle for p in patches] == list(np.flatnonzero(sim.truth.visible[1]))
    for patch in patches:
        np.testing.assert_allclose(patch.moved[0], frame[patch.box], atol=1e-5)


def test_a_moved_particle_looks_as_if_the_stage_had_moved_it():
    sim = scene(n_particles=1, background=0.0)
    (patch,) = sim.patches(2, [(0.25, 0.0), (-0.4, 0.7)])
    for image, move in zip(patch.moved, [(0.25, 0.0), (-0.4, 0.7)], strict=True):
        moved = sim.render(2, float(sim.energies[2]), move)
        np.testing.assert_allclose(image, moved[patch.box], atol=1e-5)
    assert np.abs(patch.moved[0] - patch.moved[1]).max() > 0.05


def test_neighbours_and_background_stay():
    sim = scene(n_particles=4, touching=1.0, radius_px=(15.0, 22.0))
    for patch in sim.patches(2, [(0.3, 0.3)], margin=20):
        change = np.abs(patch.moved[0] - sim.od(2)[patch.box])
        own = patch.moved[0] - patch.without
        assert change[own < 1e-6].max() < 1e-4
        assert own.max() > 0.3
        assert abs(own).min() < 1e-6
