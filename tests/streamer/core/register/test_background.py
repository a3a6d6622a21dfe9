from __future__ import annotations

import numpy as np
import pytest

from operando.streamer.core.register.background import absorb, at_reference, find, picture
from operando.streamer.lab.simulate import Simulator, preset

REACH, LEAST = 12.0, 0.25
STILL = {"strain": (0.0, 0.0, 0.0), "rotation_deg": 0.0}


def views(frames=6, noise=0.03, **changes):
    """Pictures of the background of simulated frames with true masks, and the true motion."""
    sim = Simulator(preset("paper", **{"seed": 1, "n_energies": frames, **STILL, **changes}))
    truth, rng = sim.truth, np.random.default_rng(8)
    valid = np.ones(sim.settings.shape, bool)
    for frame in range(frames):
        od = sim.od(frame) + rng.normal(0, noise, valid.shape).astype(np.float32)
        labels = np.zeros(valid.shape, np.int32)
        for particle in range(truth.n_particles):
            labels[sim.mask(frame, particle)] = particle + 1
        yield picture(od, valid, labels), truth.shift[frame], truth.magnification[frame]


def test_background_is_followed_over_the_edge_within_its_sigma():
    template, errors, sigmas = None, [], []
    for seen, shift, _ in views(8):
        found = find(template, seen, shift + (0.7, -0.8), REACH, LEAST)
        drift = shift if template is None else found.yx
        if template is not None:
            assert found.reason == ""
            errors.append(found.yx - shift)
            sigmas.append(found.sigma)
        template = absorb(template, seen, drift)
    ratio = np.sqrt(np.mean(np.square(np.array(errors) / sigmas)))
    assert np.abs(errors).max() < 0.08
    assert 0.5 < ratio < 1.8, (errors, sigmas)


def test_particles_that_go_elsewhere_have_no_say():
    (first, start, _), *_, (last, end, _) = views(4, noise=0.01, wander_px=25.0)
    found = find(absorb(None, first, start), last, end, REACH, LEAST)
    assert np.abs(found.yx - end).max() < 0.06


@pytest.mark.parametrize("offset", [(0.0, 0.0), (0.25, 0.0), (0.5, -0.5), (2.6, 7.3)])
def test_fractions_of_a_pixel_have_no_bias(offset):
    (first, start, _), (second, shift, _) = views(2, noise=0.0, jitter_px=0.0, drift_px=0.0)
    assert (shift == 0).all()
    template = absorb(None, first, start + offset)
    found = find(template, second, np.array(offset) + 1.2, REACH, LEAST)
    np.testing.assert_allclose(found.yx, offset, atol=0.02)


def test_without_structure_the_background_says_nothing():
    (first, start, _), (second, shift, _) = views(2, background=0.0)
    found = find(absorb(None, first, start), second, shift, REACH, LEAST)
    assert found.reason == "poor_peak"
    np.testing.assert_array_equal(found.yx, shift)
    assert np.isnan(found.sigma).all()


def test_it_needs_a_template_and_room_between_the_particles():
    ((first, start, _),) = views(1)
    assert find(None, first, start, REACH, LEAST).reason == "no_template"
    shape = first.image.shape
    full = picture(np.ones(shape, np.float32), np.ones(shape, bool), np.ones(shape, np.int32))
    template = absorb(None, first, start)
    assert find(template, full, start, REACH, LEAST).reason == "no_background"
    smaller = picture(*(np.zeros((64, 64), t) for t in (np.float32, np.bool_, np.int32)))
    assert find(template, smaller, start, REACH, LEAST).reason == "no_template"


def test_a_known_magnification_is_taken_out_of_the_picture():
    pairs = list(views(2, noise=0.01, energies=(8300.0, 8600.0), magnification_per_ev=-1.2e-4))
    (first, start, _), (second, shift, scale) = pairs
    template = absorb(None, first, start)
    centre = tuple((np.array(first.image.shape) - 1) / 2)
    scaled = at_reference(second, scale, centre)
    found = find(template, scaled, shift / scale, REACH, LEAST)
    np.testing.assert_allclose(found.yx, shift / scale, atol=0.06)
    assert found.peak > find(template, second, shift, REACH, LEAST).peak + 0.1
