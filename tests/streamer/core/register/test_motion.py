from __future__ import annotations

import numpy as np
import pytest

from operando.streamer.core.register import motion
from operando.streamer.core.register.motion import FrameMeasurement, PositionMeasurement
from operando.streamer.core.register.places import mask_sigma
from operando.streamer.core.register.settings import RegisterSettings

SETTINGS = RegisterSettings()


def points(n: int = 9) -> np.ndarray:
    return np.random.default_rng(3).uniform(50, 400, (n, 2))


def frame_of(yx, *, seen=None, cut=None, sigma=0.1):
    n = len(yx)
    seen = np.ones(n, bool) if seen is None else seen
    cut = np.zeros(n, bool) if cut is None else cut
    return tuple(
        PositionMeasurement(
            particle=i,
            yx=yx[i],
            sigma=np.broadcast_to(np.asarray(sigma, float), (2,)),
            seen=bool(seen[i]),
            cut=bool(cut[i]),
        )
        for i in range(n)
    )


def advance(frames, settings=SETTINGS, state=None, dt=1.0):
    state = motion.init() if state is None else state
    fields = []
    for number, measured in enumerate(frames):
        now = FrameMeasurement(
            frame=number, time=number * dt, energy=None, shape=(460, 460), measured=measured
        )
        state, field = motion.update(state, now, settings)
        fields.append(field)
    return state, fields


def test_drift_is_the_common_motion_and_residuals_are_the_rest():
    start = points()
    shifts = np.array([[0, 0], [3.5, -2.0], [7.0, 1.0]])
    own = np.zeros((9, 2))
    own[4] = (6.0, -5.0)  # one particle goes its own way
    frames = [frame_of(start + s + own * (i > 0)) for i, s in enumerate(shifts)]
    _, fields = advance(frames)
    for field, shift in zip(fields, shifts, strict=True):
        np.testing.assert_allclose(field.drift, shift, atol=0.15)
    odd = fields[2].moved[4]
    np.testing.assert_allclose(odd.displacement, shifts[2] + own[4], atol=1e-9)
    assert np.hypot(*odd.residual) > 4


def test_a_dropped_particle_does_not_make_the_drift_jump():
    rng = np.random.default_rng(5)
    start, spread = points(), rng.normal(0, 5, (9, 2))
    frames, truth = [], []
    for t in range(40):
        drift = np.array([np.sin(t / 6) * 4, t * 0.1])
        seen = rng.random(9) > 0.25
        seen[:2] = True
        # individual motion is smooth, and far larger than the jitter between two frames
        frames.append(frame_of(start + drift + spread * t / 40, seen=seen if t else None))
        truth.append(drift + np.median(spread, axis=0) * t / 40)
    _, fields = advance(frames)
    steps = np.diff([f.drift for f in fields], axis=0) - np.diff(truth, axis=0)
    assert np.abs(steps).max() < 0.35


def test_strain_and_rotation_of_an_affine_field():
    start = points()
    gradient = np.array([[0.010, 0.004], [-0.002, -0.006]])
    centre = start.mean(axis=0)
    bent = start + (start - centre) @ gradient.T
    _, fields = advance([frame_of(start), frame_of(bent + (5, -3))])
    affine = fields[1].affine
    np.testing.assert_allclose(affine.strain, (0.010, -0.006, 0.001), atol=1e-4)
    assert affine.rotation == pytest.approx(-0.003, abs=1e-4)
    assert max(np.hypot(*m.residual) for m in fields[1].moved) < 0.02
    # position = reference + drift + affine + residual, for every particle
    for m in fields[1].moved:
        total = m.reference_yx + fields[1].drift + affine.at(m.reference_yx[None])[0] + m.residual
        np.testing.assert_allclose(total, m.yx, atol=1e-9)


def test_few_particles_have_no_strain():
    _, fields = advance([frame_of(points(3))] * 2)
    assert np.isnan(fields[1].affine.strain).all()
    assert np.isnan(fields[1].affine.rotation)


def test_velocity_acceleration_and_path():
    start = points(5)
    t = np.arange(8) * 2.0
    move = np.column_stack([0.5 * 0.25 * t**2, 1.5 * t])
    _, fields = advance([frame_of(start + m) for m in move], dt=2.0)
    last = fields[-1].moved[0]
    np.testing.assert_allclose(last.rates.velocity, (0.25 * 14, 1.5), atol=1e-6)
    np.testing.assert_allclose(last.rates.acceleration, (0.25, 0), atol=1e-6)
    assert last.path == pytest.approx(np.hypot(*np.diff(move, axis=0).T).sum())
    assert np.isnan(fields[0].moved[0].rates.velocity).all()
    assert np.isnan(fields[1].moved[0].rates.acceleration).all()


def test_a_coasting_particle_moves_with_the_field():
    start = points(5)
    seen = np.array([True] * 4 + [False])
    _, fields = advance([frame_of(start), frame_of(start + (4, 5), seen=seen)])
    np.testing.assert_allclose(fields[1].moved[4].yx, start[4] + (4, 5), atol=1e-6)
    assert fields[1].moved[4].path == 0
    assert np.isnan(fields[1].moved[4].rates.velocity).all()


def test_a_late_birth_does_not_change_the_strain():
    start = points(9)
    centre = start[:8].mean(axis=0)
    gradient = np.diag([0.02, -0.01])
    bent = start + (start - centre) @ gradient.T
    frames = [frame_of(start[:8]), frame_of(bent[:8]), frame_of(bent), frame_of(bent)]
    _, fields = advance(frames)
    np.testing.assert_allclose(fields[3].affine.strain, (0.02, -0.01, 0.0), atol=2e-4)
    assert np.hypot(*fields[3].moved[8].residual) < 0.02


def test_cut_particles_do_not_count_for_drift():
    start = points(6)
    moved = start + (2, 2)
    moved[:2] += (-8, 0)
    cut = np.array([True, True, False, False, False, False])
    _, fields = advance([frame_of(start), frame_of(moved, cut=cut)])
    np.testing.assert_allclose(fields[1].drift, (2, 2), atol=1e-6)


def test_the_gauge_can_be_a_named_particle():
    start = points(5)
    moved = start + (1, 1)
    moved[3] += (2, 0)
    settings = RegisterSettings(gauge="particle", gauge_particle=3)
    _, fields = advance([frame_of(start), frame_of(moved)], settings)
    np.testing.assert_allclose(fields[1].drift, (3, 1), atol=1e-9)


def test_a_further_run_keeps_references_but_not_rates():
    start = points(5)
    state, _ = advance([frame_of(start), frame_of(start + 1)])
    state = motion.start_run(state)
    _, fields = advance([frame_of(start + 9)], state=state)
    np.testing.assert_allclose(fields[0].moved[2].displacement, (9, 9), atol=1e-9)
    assert np.isnan(fields[0].moved[2].rates.velocity).all()


def test_repeated_times_give_no_rate():
    start = points(5)
    _, fields = advance([frame_of(start), frame_of(start + 1)], dt=0.0)
    assert np.isnan(fields[1].moved[0].rates.velocity).all()


def test_a_cut_particle_moves_with_the_field_and_is_anchored_when_whole():
    start = points(6)
    cut = np.array([True] + [False] * 5)
    seen_cut = start.copy()
    seen_cut[0] += (4, 0)  # the centre of what the frame leaves of it
    later = start + (3, 1)
    later[0] += (2.5, 0)
    _, fields = advance(
        [frame_of(seen_cut, cut=cut), frame_of(later, cut=cut), frame_of(start + (5, 2))]
    )
    moved = [f.moved[0] for f in fields]
    np.testing.assert_allclose(moved[1].displacement, (3, 1), atol=1e-6)
    np.testing.assert_allclose(moved[2].yx, start[0] + (5, 2), atol=1e-9)
    np.testing.assert_allclose(moved[2].displacement, (5, 2), atol=1e-6)
    assert moved[2].path == pytest.approx(np.hypot(3, 1) + np.hypot(2, 1), abs=1e-6)


def test_sigma_grows_with_noise_and_size_and_cuts():
    area = np.pi * np.array([20.0, 20.0, 150.0, 20.0]) ** 2
    contrast = np.array([1.0, 0.2, 1.0, 1.0])
    cut = np.array([False, False, False, True])
    sigma = mask_sigma(area, contrast, cut, noise=0.05, psf=1.2)
    assert sigma[1] > sigma[0]
    assert sigma[2] > sigma[0]
    assert sigma[3] > 2
    assert 0.09 < sigma[0] < 0.13
    unknown = mask_sigma(area, contrast, cut, noise=float("nan"), psf=1.2)
    np.testing.assert_allclose(unknown, sigma)
