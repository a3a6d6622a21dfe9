"""The bound against a closed form, and against what the best fit reaches in simulated counts."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.ndimage import gaussian_filter

from operando.streamer.lab.evaluate.bound import (
    cramer_rao,
    od_variance,
    position_covariance,
    rms_over_bound,
)
from operando.streamer.lab.simulate import SimSettings, Simulator

STILL = {
    "jitter_px": 0.0,
    "drift_px": 0.0,
    "wander_px": 0.0,
    "spin_deg": 0.0,
    "rotation_deg": 0.0,
    "strain": (0.0, 0.0, 0.0),
    "charge": (0.4, 0.4),
}


def disc(radius, psf, at=(0.0, 0.0), size=64, fine=8):
    """Blurred disc of unit contrast on a grid of pixels."""
    axis = (np.arange(size * fine) + 0.5) / fine - size / 2
    inside = np.hypot(axis[:, None] - at[0], axis[None, :] - at[1]) < radius
    pixels = inside.reshape(size, fine, size, fine).mean(axis=(1, 3))
    # the average over a pixel is part of the point spread, variance 1/12 px^2
    return gaussian_filter(pixels, np.sqrt(psf**2 - 1 / 12))


def derivatives(radius, psf, step=0.25):
    return np.stack(
        [
            (disc(radius, psf, d) - disc(radius, psf, -d)).ravel() / (2 * step)
            for d in step * np.eye(2)
        ]
    )


@pytest.mark.parametrize(("radius", "psf"), [(12, 1.0), (20, 1.0), (20, 1.5)])
def test_disc_with_gaussian_psf(radius, psf):
    """Without nuisances: sd = (s/a) sqrt(2 w / (sqrt(pi) R))."""
    noise, contrast = 0.1, 0.7
    grad = contrast * derivatives(radius, psf)
    variance = np.full(grad.shape[1], noise**2)
    sd = np.sqrt(np.diag(position_covariance(grad, np.ones((1, grad.shape[1])), variance)))
    expected = noise / contrast * np.sqrt(2 * psf / (np.sqrt(np.pi) * radius))
    # the closed form is that of a straight edge of a narrow PSF
    np.testing.assert_allclose(sd, expected, rtol=0.04)


def test_unknown_plane_costs_information_and_a_gain_does_not():
    grad = derivatives(15, 1.0)
    variance = np.ones(grad.shape[1])
    y, x = np.indices((64, 64)).reshape(2, -1) - 31.5
    flat, symmetric = np.ones_like(y), disc(15, 1.0).ravel()

    def sd(*nuisances):
        return np.sqrt(np.diag(position_covariance(grad, np.stack(nuisances), variance)))

    np.testing.assert_allclose(sd(flat, symmetric), sd(flat), rtol=1e-6)
    inner = slice(12, 52)
    near = np.zeros((64, 64))
    near[inner, inner] = 1
    seen = np.where(near.ravel() > 0, 1.0, 1e12)
    narrow = np.sqrt(np.diag(position_covariance(grad, np.stack([flat, y, x]), seen)))
    assert np.all(sd(flat, y, x) > 1.005 * sd(flat))
    assert np.all(narrow > 1.05 * sd(flat, y, x))


def test_dependent_nuisances_and_a_blank_picture():
    grad, flat = derivatives(15, 1.0), np.ones((1, 64 * 64))
    once = position_covariance(grad, flat, np.ones(64 * 64))
    twice = position_covariance(grad, np.vstack([flat, 2 * flat]), np.ones(64 * 64))
    np.testing.assert_allclose(twice, once)
    assert np.isinf(np.diag(position_covariance(0 * grad, flat, np.ones(64 * 64)))).all()


@pytest.mark.parametrize("changes", [{}, {"counts": 200.0, "chunk": 2, "flat_exposure": 0.3}])
def test_noise_of_corrected_frames(changes):
    """Measured in simulated counts: the variance over frames of each pixel's optical density."""
    settings = SimSettings(
        **STILL,
        **changes,
        n_particles=2,
        shape=(120, 120),
        radius_px=(12.0, 15.0),
        energies=(8400.0,) * 150,
        flicker=0.0,
        hot_pixels=0,
    )
    sim = Simulator(settings)
    od = np.stack([corrected(sim, k) for k in range(150)])
    predicted = od_variance(sim.sample_light(0) * np.exp(-sim.od(0)), sim.flat_light(0), settings)
    dark_part = settings.read_noise**2 / settings.chunk
    dark_part *= (1 / (sim.sample_light(0) * np.exp(-sim.od(0))) - 1 / sim.flat_light(0)) ** 2
    # the simulator's darks are all the same image
    ratio = od.var(axis=0, ddof=1).mean() / (predicted - dark_part).mean()
    assert ratio == pytest.approx(1, abs=0.03)


def corrected(sim, frame):
    dark = sim.settings.dark_level
    sample = sim.exposures(frame).mean(axis=0) - dark
    flat = sim.flat(frame, sim.settings.chunk).mean(axis=0) - dark
    flat *= sim.settings.exposure / sim.settings.flat_exposure
    return np.log(flat) - np.log(np.maximum(sample, 1))


def test_best_fit_reaches_the_bound_and_does_not_beat_it():
    """Weighted least squares of simulated counts: gain, offset, plane and the position."""
    n = 250
    sim = Simulator(
        SimSettings(
            **STILL,
            n_particles=4,
            seed=3,
            shape=(170, 170),
            radius_px=(10.0, 18.0),
            energies=(8400.0,) * n,
            hot_pixels=0,
            chunk=1,
        )
    )
    bound = cramer_rao(sim, [0])
    od = np.stack([corrected(sim, k) for k in range(n)])
    step = 0.1
    moves = step * np.array([[0, 0], [1, 0], [-1, 0], [0, 1], [0, -1]])
    ratios = []
    for patch in sim.patches(0, moves):
        rest, up, down, right, left = (image.ravel().astype(float) for image in patch.moved)
        y, x = np.indices(patch.without.shape).reshape(2, -1) - 20.0
        design = np.stack(
            [
                (up - down) / (2 * step),
                (right - left) / (2 * step),
                rest - patch.without.ravel(),
                *(np.ones_like(y), y, x),
            ],
            axis=1,
        )
        sample, flat = sim.sample_light(0)[patch.box], sim.flat_light(0)[patch.box]
        weight = 1 / np.sqrt(od_variance(sample * np.exp(-patch.moved[0]), flat, sim.settings))
        data = (od[:, *patch.box].reshape(n, -1) - rest) * weight.ravel()
        found = np.linalg.lstsq(design * weight.reshape(-1, 1), data.T, rcond=None)[0][:2]
        assert np.abs(found.mean(axis=1)).max() < 0.01
        ratios.append(found.std(axis=1, ddof=1) / bound.sd[0, patch.particle])
    assert np.sqrt(np.mean(np.square(ratios))) == pytest.approx(1, abs=0.05)


def test_bound_follows_contrast_noise_and_visibility():
    few = {"n_particles": 3, "shape": (200, 200), "n_energies": 9, "hidden": 1, "seed": 5}
    usual = cramer_rao(Simulator(SimSettings(**few)))
    dim = cramer_rao(Simulator(SimSettings(**few, counts=750.0)), [0, 8])
    sim = Simulator(SimSettings(**few))
    np.testing.assert_array_equal(np.isfinite(usual.sd[..., 0]), sim.truth.visible)
    assert not sim.truth.visible.all()
    shown = sim.truth.visible[8]
    assert np.all(usual.sd[0, shown] > 2 * usual.sd[8, shown])
    # shot noise alone would double it; the read noise adds a little
    np.testing.assert_allclose(dim.sd[1, shown] / usual.sd[8, shown], 2.0, rtol=0.05)
    flat_known = cramer_rao(sim, [8], own_flat=False)
    assert np.all(flat_known.sd[0, shown] < 0.95 * usual.sd[8, shown])


def test_ratio_to_the_bound():
    sim = Simulator(SimSettings(n_particles=2, shape=(150, 150), n_energies=6))
    bound = cramer_rao(sim, [0, 5])
    frame, particle = np.nonzero(sim.truth.visible)
    sd = np.where(np.isin(frame, [0, 5])[:, None], bound.at(frame, particle), 7.0)
    errors = pd.DataFrame(
        {
            "frame": frame,
            "truth": particle,
            "region": sim.truth.region[frame],
            "dy": 3 * sd[:, 0],
            "dx": -3 * sd[:, 1],
        }
    )
    errors = errors.assign(raw_dy=errors["dy"] + 1, raw_dx=errors["dx"])
    ratio = rms_over_bound(errors, bound)
    assert ratio["overall"] == pytest.approx(3)
    assert ratio["below"] == pytest.approx(3)
    assert np.isnan(ratio["at"])
    step = np.where(errors["region"] == "above", 1.0, 0.0)
    stepped = errors.assign(dy=errors["dy"] + step, raw_dy=errors["raw_dy"] + step)
    after = rms_over_bound(stepped, bound)
    assert after["above"] > 5 * ratio["above"]
    assert after["within above"] == pytest.approx(ratio["within above"])


def test_ratio_of_white_errors_within_a_side_is_theirs():
    sim = Simulator(SimSettings(n_particles=4, shape=(240, 240), n_energies=90))
    frames = np.flatnonzero(sim.truth.region == "above")
    bound = cramer_rao(sim, frames[::6])
    frame, particle = np.nonzero(sim.truth.whole)
    rng = np.random.default_rng(0)
    sd = np.nan_to_num(bound.at(frame, particle), nan=0.02)
    error = 2 * sd * rng.standard_normal(sd.shape)
    table = {"frame": frame, "truth": particle, "region": sim.truth.region[frame]}
    table |= {f"{raw}d{axis}": error[:, i] for raw in ("", "raw_") for i, axis in enumerate("yx")}
    found = rms_over_bound(pd.DataFrame(table), bound)
    assert found["within above"] == pytest.approx(2, rel=0.15)
