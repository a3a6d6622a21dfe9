"""A stage that is mounted askew and creeps."""

from __future__ import annotations

import numpy as np
import pytest

from operando.streamer.lab.simulate import SimSettings
from operando.streamer.lab.simulate.devices import Mounting, askew, make_beamline, steady_creep

SMALL = SimSettings(shape=(96, 96), n_particles=1, radius_px=(10, 12), n_energies=4, jitter_px=0.0)


def test_askew_is_a_rotation_or_a_mirror_image():
    np.testing.assert_allclose(askew(0.0), np.eye(2))
    np.testing.assert_allclose(askew(90.0) @ (0, 1), (1, 0), atol=1e-12)
    assert np.linalg.det(askew(20.0)) == pytest.approx(1)
    assert np.linalg.det(askew(20.0, mirrored=True)) == pytest.approx(-1)


def test_creep_goes_its_way_and_stops():
    creep = steady_creep(30.0, 90.0, 7, 3)
    np.testing.assert_allclose(creep[3], (30, 0), atol=1e-12)
    mounting = Mounting(creep=creep)
    np.testing.assert_allclose(mounting.crept(100), creep[-1])
    np.testing.assert_allclose(Mounting().crept(5), (0, 0))


def test_the_stage_shifts_the_image_by_its_matrix():
    mounting = Mounting(matrix=askew(30.0, mirrored=True), creep=steady_creep(9.0, 0.0, 4, 3))
    beamline = make_beamline(SMALL, mounting)
    beamline.shutter.put("open")
    beamline.stage.y.set(0.31).wait()
    beamline.stage.x.set(-0.62).wait()
    for _ in range(3):
        beamline.camera.trigger().wait(5)
    shift = mounting.px_per_um(SMALL.pixel_size) @ (0.31, -0.62)
    truth = beamline.sample.truth()
    np.testing.assert_allclose(truth.stage, shift + np.arange(3)[:, None] * (0.0, 3.0))
    still = beamline.sample.simulator.truth_of(truth.frame, truth.energies, np.zeros((3, 2)))
    np.testing.assert_allclose((truth.yx - still.yx)[:, 0], truth.stage, atol=1e-9)
    # the pixels, too: the image is that of the simulator at that stage position
    image = beamline.sample.simulator.exposures(
        2, 1, energy=truth.energies[2], stage_yx=truth.stage[2]
    )
    np.testing.assert_array_equal(beamline.camera.image.get(), image)
