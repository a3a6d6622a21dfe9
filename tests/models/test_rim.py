"""Fits of rims: what they must see, and what they must be blind to."""

from __future__ import annotations

import gc
import weakref

import numpy as np
import pytest
import torch
from scipy.special import erf

from operando.models.rim import RimStacks, fit_rims, kernel, make_rim, stack_rims
from operando.models.warp import resample

CPU = torch.device("cpu")
SHAPE = (120, 130)
SIDE = 81
NOISE = 0.03


def particle(yx, *, shape=SHAPE, radius=20.0, psf=1.2):
    """Optical density of a body of three lobes, 1 inside; (H, W) float64."""
    y, x = np.indices(shape).astype(float)
    dy, dx = y - yx[0], x - yx[1]
    contour = radius * (1 + 0.1 * np.cos(3 * np.arctan2(dy, dx) + 1))
    return 0.5 * (1 - erf((np.hypot(dy, dx) - contour) / (np.sqrt(2) * psf)))


def template(radius=20.0, noise=0.0, **kwargs):
    """Rim of a template with its body at the centre; band of 8 px to both sides."""
    clean = particle([(SIDE - 1) / 2] * 2, shape=(SIDE, SIDE), radius=radius)
    noisy = clean + noise * np.random.default_rng(9).standard_normal(clean.shape)
    usable = np.ones(clean.shape, bool)
    rim = make_rim(noisy.astype(np.float32), clean > 0.5, usable, within=8, beyond=8, **kwargs)
    assert rim is not None
    return rim


def plane(level=0.3, slope_y=-0.006, slope_x=0.003):
    y, x = np.indices(SHAPE)
    return level + slope_y * (y - 60) + slope_x * (x - 60)


def noise(rng):
    return NOISE * rng.standard_normal(SHAPE)


def fit(rims, image, start, device=CPU, **kwargs):
    pixels = torch.from_numpy(image.astype(np.float32))[None, None].to(device)
    start = np.array(start, dtype=np.float64).reshape(-1, 2)
    stack = stack_rims(rims, device)
    return fit_rims(stack, start, lambda yx: resample(pixels, yx[None])[0, 0], **kwargs)


@pytest.mark.parametrize("gain", [0.2, 0.6, 1.0, 2.0])
@pytest.mark.parametrize("offset", [(0.0, 0.0), (0.3, -0.4), (-2.2, 3.1)], ids=str)
def test_shifts_are_found_below_a_pixel_whatever_gain_and_plane(device, gain, offset):
    rng = np.random.default_rng(1)
    centre = np.array([60.0, 64.0]) + offset
    image = gain * particle(centre) + plane(level=0.8) + noise(rng)
    found = fit([template()], image, [60.0, 64.0], device)
    assert found.settled[0]
    np.testing.assert_allclose(found.yx[0], centre, atol=0.012 + 0.04 / gain)
    assert found.gain[0] == pytest.approx(gain, abs=0.02)
    # between pixels, interpolation takes some of the noise away
    assert 0.7 * NOISE < found.rms[0] < 1.1 * NOISE
    assert found.share[0] == 1.0


def test_repeated_frames_show_no_bias():
    rng = np.random.default_rng(2)
    centre = np.array([60.5, 63.0])
    clean = 0.5 * particle(centre) + plane()
    found = [fit([template()], clean + noise(rng), [60.0, 64.0]).yx[0] for _ in range(60)]
    np.testing.assert_allclose(np.mean(found, axis=0), centre, atol=0.01)


@pytest.mark.parametrize("gain", [0.3, 1.5])
def test_the_covariance_is_that_of_repeated_frames(gain):
    rng = np.random.default_rng(3)
    rim, scatter, expected = template(), [], []
    for centre in rng.uniform(-0.5, 0.5, (8, 2)) + [60.0, 64.0]:
        clean = gain * particle(centre) + plane()
        fits = [fit([rim], clean + noise(rng), [60.0, 64.0]) for _ in range(40)]
        scatter.append(np.var([(*f.yx[0], f.gain[0]) for f in fits], axis=0, ddof=1))
        expected += [(*np.diag(f.covariance[0]), f.gain_sigma[0] ** 2) for f in fits]
    ratio = np.sqrt(np.mean(scatter, axis=0) / np.mean(expected, axis=0))
    assert np.all((ratio > 0.75) & (ratio < 1.25)), ratio


def test_chemistry_that_runs_across_the_particle_does_not_move_it():
    centre = np.array([60.3, 64.2])
    y, x = np.indices(SHAPE)
    uneven = 1 + 0.5 * (y - centre[0]) / 20 - 0.3 * (x - centre[1]) / 20
    image = 0.6 * uneven * particle(centre) + plane()
    free = fit([template()], image, [60.0, 64.0])
    np.testing.assert_allclose(free.yx[0], centre, atol=0.03)
    assert free.gain_gradient[0] == pytest.approx(np.hypot(0.5, 0.3), rel=0.1)
    # the same without room for it: the test can tell
    stiff = fit([template()], image, [60.0, 64.0], gain_gradient=0.0)
    assert np.hypot(*(stiff.yx[0] - centre)) > 0.1


def test_of_a_cropped_particle_the_rest_of_the_rim_tells_the_place():
    rng = np.random.default_rng(4)
    centre = np.array([60.4, 64.3])
    image = 0.8 * particle(centre) + plane() + noise(rng)
    whole = fit([template()], image, [60.0, 64.0])
    image[66:] = np.nan
    cropped = fit([template()], image, [60.0, 64.0])
    np.testing.assert_allclose(cropped.yx[0], centre, atol=0.07)
    assert 0.5 < cropped.share[0] < 0.7
    assert np.linalg.det(cropped.covariance[0]) > np.linalg.det(whole.covariance[0])


def test_what_a_neighbour_covers_is_left_out_where_it_is_unusable():
    centre = np.array([60.4, 64.3])
    neighbour = particle(centre + [0, 35], radius=17)
    image = 0.8 * particle(centre) + 0.8 * neighbour + plane()
    disturbed = fit([template()], image, [60.0, 64.0])
    assert np.hypot(*(disturbed.yx[0] - centre)) > 0.05
    masked = np.where(neighbour > 0.003, np.nan, image)
    assert np.isfinite(masked).any()
    found = fit([template()], masked, [60.0, 64.0])
    np.testing.assert_allclose(found.yx[0], centre, atol=0.015)


def test_a_batch_of_rims_of_all_sizes_says_what_each_says_alone():
    rng = np.random.default_rng(5)
    places = np.array([[30.2, 30.4], [80.3, 90.1], [80.0, 31.7]])
    radii = (12.0, 21.0, 16.0)
    bodies = [particle(yx, radius=r) for yx, r in zip(places, radii, strict=True)]
    image = sum(bodies) + plane() + noise(rng)
    rims = [template(radius=r) for r in radii]
    assert len({len(rim.value) for rim in rims}) == 3
    together = fit(rims, image, np.rint(places))
    np.testing.assert_allclose(together.yx, places, atol=0.06)
    for n, rim in enumerate(rims):
        alone = fit([rim], image, np.rint(places[n]))
        np.testing.assert_allclose(together.yx[n], alone.yx[0], atol=5e-3)
        np.testing.assert_allclose(together.covariance[n], alone.covariance[0], 0.02, 1e-6)
        np.testing.assert_allclose(together.gain[n], alone.gain[0], rtol=1e-3)
        assert together.share[n] == alone.share[0] == 1.0


def test_a_rim_outside_the_image_harms_no_other():
    image = particle((60.4, 64.3)) + plane()
    found = fit([template(), template()], image, [[60.0, 64.0], [-300.0, 64.0]])
    np.testing.assert_allclose(found.yx[0], [60.4, 64.3], atol=0.015)
    assert list(found.share) == [1.0, 0.0]


def test_a_particle_that_is_not_there_has_no_contrast():
    rng = np.random.default_rng(6)
    found = [fit([template()], plane() + noise(rng), [60.0, 64.0]) for _ in range(20)]
    sure = [abs(f.gain[0]) > 6 * f.gain_sigma[0] for f in found]
    assert not any(sure)


def test_outlying_pixels_count_little():
    rng = np.random.default_rng(7)
    centre = np.array([60.4, 64.3])
    image = particle(centre) + plane() + noise(rng)
    y, x = np.indices(SHAPE)
    image[np.hypot(y - 42, x - 64) < 3] += 1.5  # dust on the rim
    np.testing.assert_allclose(fit([template()], image, [60.0, 64.0]).yx[0], centre, atol=0.06)


def test_the_kernel_answers_a_small_shift_and_is_blind_to_plane_and_chemistry():
    rim = template()
    everything = slice(None)
    weights = kernel(rim, everything)
    shift = np.array([0.2, -0.1])
    centre = (SIDE - 1) / 2
    moved = particle(centre + shift, shape=(SIDE, SIDE))
    rows, columns = np.rint(rim.points + centre).astype(int).T
    np.testing.assert_allclose(weights @ moved[rows, columns], shift, rtol=0.1)
    for blind in (np.ones(len(rim.value)), *rim.points.T, *(rim.points.T * rim.value)):
        np.testing.assert_allclose(weights @ blind, 0.0, atol=1e-3)


def test_noise_of_the_template_holds_steps_back_unless_it_is_smoothed():
    shift = np.array([0.5, 0.0])
    centre = (SIDE - 1) / 2
    moved = particle(centre + shift, shape=(SIDE, SIDE))

    def answer(rim):
        rows, columns = np.rint(rim.points + centre).astype(int).T
        return (kernel(rim, slice(None)) @ moved[rows, columns])[0]

    assert answer(template(noise=0.2)) < 0.35
    assert answer(template(noise=0.2, smooth=1.5)) > 0.4


def test_rims_keep_away_from_what_is_unknown_and_are_thinned_out():
    image = particle([40.0, 40.0], shape=(SIDE, SIDE)).astype(np.float32)
    inside = image > 0.5
    usable = np.ones(image.shape, bool)
    usable[:, 50:] = False
    rim = make_rim(image, inside, usable, within=8, beyond=8)
    assert rim is not None
    assert rim.points[:, 1].max() == 48 - 40
    assert rim.radius == pytest.approx(20, abs=0.5)
    # a pixel of the template that is NaN is as unusable as one that is told to be
    image[:, 50:] = np.nan
    again = make_rim(image, inside, np.ones_like(usable), within=8, beyond=8)
    assert again is not None
    np.testing.assert_array_equal(again.points, rim.points)
    thin = make_rim(image, inside, usable, within=8, beyond=8, most=300)
    assert thin is not None
    assert len(thin.value) <= 300
    assert np.ptp(thin.points[:, 0]) == pytest.approx(np.ptp(rim.points[:, 0]), abs=2)


def test_too_few_pixels_make_no_rim():
    image = np.ones((SIDE, SIDE), np.float32)
    inside = np.zeros(image.shape, bool)
    inside[40, 40] = True
    assert make_rim(image, inside, np.ones_like(inside), within=2, beyond=2) is None
    inside[30:50, 30:50] = True
    assert make_rim(image, inside, np.zeros_like(inside), within=8, beyond=8) is None


def test_a_noisy_template_neither_lowers_the_gain_nor_moves_the_place():
    rng = np.random.default_rng(10)
    centre = np.array([60.4, 63.8])
    image = particle(centre) + plane() + noise(rng)
    sharp = fit([template(noise=0.2)], image, [60.0, 64.0])
    found = fit([template(noise=0.2, smooth=1.5)], image, [60.0, 64.0])
    assert found.gain[0] == pytest.approx(1.0, abs=0.04)
    assert sharp.gain[0] < 0.9  # the test can tell
    assert found.settled[0]
    np.testing.assert_allclose(found.yx[0], centre, atol=0.15)


def of(image):
    """Rim of a picture of the particle at its centre, whatever it shows of it."""
    inside = particle([(SIDE - 1) / 2] * 2, shape=(SIDE, SIDE)) > 0.5
    usable = np.ones(image.shape, bool)
    rim = make_rim(image.astype(np.float32), inside, usable, within=8, beyond=8)
    assert rim is not None
    return rim


def test_a_faint_rim_on_a_high_background_is_not_lost_in_single_precision():
    centre = np.array([61.6, 62.1])
    faint = 3.0 + 0.02 * particle([(SIDE - 1) / 2] * 2, shape=(SIDE, SIDE), psf=5)
    grain = 5e-4 * np.random.default_rng(1).standard_normal(SHAPE)
    image = 0.02 * particle(centre, psf=5) + plane(level=3.0) + grain
    found = fit([of(faint)], image, [60.0, 64.0])
    assert found.gain[0] == pytest.approx(1.0, abs=0.015)
    np.testing.assert_allclose(found.yx[0], centre, atol=0.1)


@pytest.mark.parametrize(("told", "shown"), [(6.0, 0.6), (1.2, 6.0)])
def test_steps_settle_where_the_image_is_sharper_or_softer_than_the_template(told, shown):
    """As across an edge, where rims of particles look quite different."""
    centre = np.array([61.6, 62.1])
    rim = of(particle([(SIDE - 1) / 2] * 2, shape=(SIDE, SIDE), psf=told))
    found = fit([rim], particle(centre, psf=shown) + plane(), [60.0, 64.0])
    assert found.settled[0]
    np.testing.assert_allclose(found.yx[0], centre, atol=0.06)


def test_tensors_of_rims_are_kept_from_call_to_call_and_freed_with_their_owner():
    stacks = RimStacks(CPU)
    sets = [(template(radius=15.0 + n),) for n in range(6)]
    tensors = [weakref.ref(stacks.of(rims).model) for rims in sets]
    gc.collect()
    assert [ref() is None for ref in tensors] == [True, True, False, False, False, False]
    again = stacks.of(sets[2])
    assert again.model is tensors[2]()
    # the one that was used longest ago goes first
    stacks.of(sets[0])
    del again
    gc.collect()
    assert [ref() is None for ref in tensors[2:]] == [False, True, False, False]
    stacks.clear()
    gc.collect()
    assert all(ref() is None for ref in tensors)
    last = weakref.ref(stacks.of(sets[5]).instrument)
    del stacks
    gc.collect()
    assert last() is None
