import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from operando.streamer.lab.training import augment

SHAPE = (96, 120)


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def ball(radius=20.0, side=96):
    y, x = np.indices((side, side)) - (side - 1) / 2
    return np.sqrt(np.maximum(1 - (y**2 + x**2) / radius**2, 0)).astype(np.float32)


def test_a_halo_rings_the_particle_and_shades_it_off():
    od = ball()
    seen = augment.halo(od, 0.5, 10.0)
    middle = 47
    assert seen[middle, middle + 24] < -0.02  # brighter than the field around it
    assert abs(seen[2, 2]) < 0.02
    assert seen[middle, middle] < od[middle, middle]
    ratio = seen / np.maximum(od, 1e-6)
    assert ratio[middle, middle + 14] > ratio[middle, middle]  # towards the rim less is lost


def test_the_wide_blur_of_a_halo_has_the_width_asked_for():
    point = np.zeros((101, 101), np.float32)
    point[50, 50] = 1
    blurred = point - augment.halo(point, 1.0, 6.0)
    y = np.indices(point.shape)[0] - 50
    assert np.sqrt((blurred * y**2).sum()) == pytest.approx(6, rel=0.1)


@pytest.mark.parametrize("make", [augment.crack, augment.inclusion])
def test_what_happens_in_a_particle_stays_in_it(make, rng):
    od = ball()
    changed = make(od, rng, 0.6)
    assert (changed[od == 0] == 0).all()
    assert (changed[od > 0] > 0).all()
    assert not np.allclose(changed, od, atol=0.05)


def test_cracks_are_thin_and_dark_or_bright(rng):
    od = ball()
    dark, bright = augment.crack(od, rng, 0.8), augment.crack(od, rng, -0.8)
    assert 0 < np.mean(dark[od > 0.2] < 0.7 * od[od > 0.2]) < 0.4
    assert bright.sum() > od.sum()


def test_a_plateau_keeps_the_top_and_steepens_the_rim():
    od = 0.5 * ball()
    flat = augment.plateau(od, 0.7)
    assert flat.max() == pytest.approx(od.max())
    assert flat[od > 0].mean() > 1.2 * od[od > 0].mean()
    assert (flat[od == 0] == 0).all()


def test_relief_moves_the_centre_of_intensity_and_not_its_sum(rng):
    od = gaussian_filter(ball(), 1.5)
    seen = augment.relief(od, rng, 1.5)
    assert seen.sum() == pytest.approx(od.sum(), rel=1e-3)
    centres = [[(image * grid).sum() for grid in np.indices(od.shape)] for image in (od, seen)]
    assert np.hypot(*(np.subtract(*centres) / od.sum())) == pytest.approx(1.5, rel=0.05)


@pytest.mark.parametrize("make", [augment.correlated_noise, augment.stripes, augment.rings])
def test_patterns_have_the_rms_asked_for(make, rng):
    image = make(SHAPE, rng, 0.05)
    assert image.shape == SHAPE
    assert image.dtype == np.float32
    assert 0.01 < image.std() < 0.15


def test_correlated_noise_has_a_grain(rng):
    noise = augment.correlated_noise(SHAPE, rng, 1.0)
    assert noise.std() == pytest.approx(1, rel=1e-3)
    neighbours = [np.mean(noise[1:] * noise[:-1]), np.mean(noise[:, 1:] * noise[:, :-1])]
    assert max(neighbours) > 0.3


def test_stripes_are_constant_along_one_axis(rng):
    kinds = [augment.stripes(SHAPE, rng, 0.1) for _ in range(12)]
    rows = [np.ptp(image, axis=1).max() == 0 for image in kinds]
    columns = [np.ptp(image, axis=0).max() == 0 for image in kinds]
    assert all(np.logical_xor(rows, columns))
    assert any(rows)
    assert any(columns)


def test_a_gradient_has_the_range_asked_for_and_no_mean(rng):
    image = augment.gradient(SHAPE, rng, 0.2)
    assert np.ptp(image) == pytest.approx(0.2, rel=1e-4)
    assert abs(image.mean()) < 1e-3


def test_clouds_have_no_rim(rng):
    image = augment.clouds((256, 256), rng, 0.2)
    assert 0.02 < np.abs(image).max() < 1.1
    steepest = max(np.abs(step).max() for step in np.gradient(image))
    assert steepest < 0.1 * np.abs(image).max()


def test_debris_is_small(rng):
    image = augment.debris(SHAPE, rng, 0.2)
    assert 0.02 < image.max() < 0.8
    assert np.mean(image > 0.1 * image.max()) < 0.08


def test_zingers_are_few_and_wild(rng):
    od = np.zeros(SHAPE, np.float32)
    changed = augment.zingers(od, rng, 1e-3)
    hit = np.abs(changed[changed != 0])
    assert 1 <= hit.size <= 12
    assert hit.min() >= 0.5
    assert (od == 0).all()


@pytest.mark.parametrize("depth", [0.05, 0.3])
def test_dark_sides_leave_one_lit_piece(depth, rng):
    shares = [augment.dark_sides(SHAPE, rng, depth).mean() for _ in range(20)]
    assert 1 - 2 * depth < np.mean(shares) <= 1
    assert min(shares) > 0.3
