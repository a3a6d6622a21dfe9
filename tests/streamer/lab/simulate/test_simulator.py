"""The simulator must draw what its truth says."""

from __future__ import annotations

import numpy as np
import pytest

from operando.streamer.errors import ConfigError
from operando.streamer.lab.simulate import PRESETS, SimSettings, Simulator, Truth, preset
from operando.streamer.lab.simulate.spectra import OXIDISED, REDUCED, absorption

SMALL = {"shape": (200, 220), "n_particles": 3, "radius_px": (12.0, 20.0), "n_energies": 9}


def small(**changes):
    return Simulator(SimSettings(**{**SMALL, **changes}))


@pytest.fixture(scope="module")
def simulator():
    return small(seed=5)


def test_images_are_a_function_of_the_settings(simulator):
    again = small(seed=5)
    np.testing.assert_array_equal(simulator.exposures(4), again.exposures(4))
    np.testing.assert_array_equal(simulator.flat(4, 2), again.flat(4, 2))
    assert not np.array_equal(simulator.exposures(4, 1), small(seed=6).exposures(4, 1))


def test_exposures_of_a_chunk_differ_in_noise_only(simulator):
    first, second = simulator.exposures(6, 2).astype(float)
    difference = (first - second) / np.sqrt(2)
    expected = np.sqrt((first + second) / 2 - 100 + 9)
    quiet = np.abs(difference - difference.mean()) / expected
    assert np.median(quiet) == pytest.approx(0.6745, rel=0.05)


def test_images_are_uint16_chunks(simulator):
    for images in (simulator.exposures(0), simulator.flat(0, 3), simulator.dark(3)):
        assert images.dtype == np.uint16
        assert images.shape == (3, 200, 220)


@pytest.mark.parametrize("frame", [0, 4, 8])
def test_truth_is_the_centre_of_mass_of_the_mask(simulator, frame):
    for particle in range(simulator.n_particles):
        mask = simulator.mask(frame, particle)
        measured = np.argwhere(mask).mean(axis=0)
        # pixels at the rim are in or out as a whole
        assert measured == pytest.approx(simulator.truth.yx[frame, particle], abs=0.12)
        area = np.pi * simulator.truth.radius[particle] ** 2
        assert mask.sum() == pytest.approx(area, rel=0.06)


def test_particles_are_drawn_at_subpixel_positions():
    sim = small(background=0.0, chemistry="uniform", jitter_px=0, drift_px=0)
    energy = 8380.0
    at_rest = sim.render(4, energy)
    yy, xx = np.indices(at_rest.shape)
    centre = np.array([(at_rest * g).sum() / at_rest.sum() for g in (yy, xx)])
    for shift in ([0.25, -0.4], [3.6, 1.1]):
        moved = sim.render(4, energy, shift)
        there = np.array([(moved * g).sum() / moved.sum() for g in (yy, xx)])
        assert there - centre == pytest.approx(shift, abs=0.02)
        truth = sim.truth_of([4], [energy], [shift]).yx - sim.truth_of([4], [energy], [[0, 0]]).yx
        np.testing.assert_allclose(truth[0], np.broadcast_to(shift, truth[0].shape), atol=1e-9)


def test_background_moves_with_the_electrode():
    sim = small(n_particles=0, jitter_px=0, drift_px=0)
    still, moved = sim.render(0, 8300.0), sim.render(0, 8300.0, (5.0, -3.0))
    np.testing.assert_allclose(
        moved[20:-20, 20:-20], np.roll(still, (5, -3), (0, 1))[20:-20, 20:-20], atol=0.02
    )
    assert still.std() > 0.02


def test_no_particles_at_all():
    sim = small(n_particles=0)
    assert sim.truth.yx.shape == (9, 0, 2)
    assert sim.exposures(0, 1).shape == (1, 200, 220)


def test_contrast_follows_the_edge(simulator):
    truth = simulator.truth
    below, above = truth.region == "below", truth.region == "above"
    assert below.any()
    assert above.any()
    for particle in range(truth.n_particles):
        assert truth.od[below, particle].max() < 0.4 * truth.od[above, particle].min()
    frame = int(np.flatnonzero(above)[0])
    inside = simulator.od(frame)[simulator.mask(frame, 0)].mean()
    around = np.median(simulator.od(frame))
    assert inside - around == pytest.approx(truth.od[frame, 0], rel=0.15)


def test_particles_stay_inside_unless_asked(simulator):
    assert simulator.truth.whole.all()
    cut = small(allow_cut=True, seed=3, n_particles=8, radius_px=(20.0, 30.0)).truth
    assert cut.cut.any()
    assert cut.visible.any()


def test_particles_do_not_overlap_unless_they_touch():
    sim = small(n_particles=6, radius_px=(8.0, 14.0))
    total = sum(sim.mask(8, p).astype(int) for p in range(6))
    assert total.max() == 1


def test_touching_particles_touch():
    sim = small(n_particles=4, touching=1.0, wander_px=0.0)
    truth = sim.truth
    distance = np.linalg.norm(truth.yx[0, :, None] - truth.yx[0, None], axis=-1)
    gap = distance - truth.radius[:, None] - truth.radius[None]
    np.fill_diagonal(gap, np.inf)
    assert (gap.min(axis=1) < 4).sum() >= 2


def test_births_and_departures():
    sim = small(n_energies=60, shape=(300, 300), births=1, departures=1)
    visible = sim.truth.visible
    birth, departure = visible[:, -2], visible[:, -1]
    assert not birth[0]
    assert birth[-1]
    assert departure[0]
    assert not departure[-1]
    assert (np.diff(birth.astype(int)) >= 0).all()
    gone = int(np.flatnonzero(~departure)[-1])
    assert not sim.mask(gone, sim.n_particles - 1).any()


def test_hidden_particles_lose_their_contrast():
    sim = small(n_energies=40, hidden=1, hidden_frames=6)
    hidden = np.flatnonzero(~sim.truth.visible[:, 0])
    assert len(hidden) == 6
    assert np.ptp(hidden) == 5
    frame = int(hidden[0])
    y, x = np.round(sim.truth.yx[frame, 0]).astype(int)
    energy = 8400.0
    assert sim.render(0, energy)[tuple(np.round(sim.truth.yx[0, 0]).astype(int))] > 0.4
    assert sim.render(frame, energy)[y, x] < 0.4


def test_magnification_pulls_particles_towards_the_centre():
    sim = small(magnification_per_ev=-1.2e-4)
    near, far = (sim.truth_of([0], [e], [[0, 0]]).yx[0] for e in (8180.0, 8580.0))
    centre = (np.array(sim.settings.shape) - 1) / 2
    np.testing.assert_allclose((far - centre), (near - centre) * (1 - 1.2e-4 * 400), atol=1e-9)


def test_measured_traces_replace_drift_and_jitter():
    trace = np.cumsum(np.random.default_rng(0).normal(0, 0.3, (9, 2)), axis=0)
    sim = Simulator(SimSettings(**SMALL), trace=trace)
    np.testing.assert_allclose(sim.truth.shift, trace - trace[0])
    with pytest.raises(ValueError, match="wanted 9 frames or more, got 8"):
        Simulator(SimSettings(**SMALL), trace=trace[:8])


def test_illumination_can_fall_to_a_few_percent_at_two_sides():
    flat = small(illumination_low=0.03, structure=0, hot_pixels=0).flat(0, 1)[0] - 100.0
    bright = np.percentile(flat, 99)
    corner = flat[:8, :8].mean()
    assert corner < 0.05 * bright
    assert flat[-60:-20, -60:-20].mean() > 0.3 * bright


def test_flats_keep_to_their_own_exposure():
    sim = small(exposure=0.5, flat_exposure=0.25, n_particles=0, background=0, flicker=0)
    sample, flat = sim.exposures(0, 1)[0] - 100.0, sim.flat(0, 1)[0] - 100.0
    assert np.median(sample / flat) == pytest.approx(2.0, rel=0.02)


def test_dark_frames_show_offset_noise_and_hot_pixels():
    dark = small(hot_pixels=7).dark(40).astype(float)
    mean = dark.mean(axis=0)
    assert (mean > 1000).sum() == 7
    assert np.median(mean) == pytest.approx(100, abs=0.2)
    assert np.median(dark.std(axis=0)) == pytest.approx(3.0, rel=0.1)


def test_oxidation_proceeds_and_shows_at_the_edge(simulator):
    fraction = simulator.truth.fraction
    assert (np.diff(fraction, axis=0) >= 0).all()
    assert fraction[-1].min() > fraction[0].max() - 0.2
    sim = small(charge=(0.1, 0.9), chemistry="uniform", background=0.0, jitter_px=0, drift_px=0)
    mask = sim.mask(0, 0) & sim.mask(8, 0)
    # the edge of the charged state lies higher, so that it absorbs less on the rise
    assert sim.render(8, 8344.0)[mask].mean() < 0.8 * sim.render(0, 8344.0)[mask].mean()


def test_the_true_fraction_is_that_of_the_material_that_is_drawn():
    """With its grains: where a particle is thicker, its share counts for more."""
    sim = small(chemistry="off_centre", background=0.0, psf_px=0.0, radius_px=(20.0, 24.0))
    energies = np.array([8344.0, 8500.0])
    reduced, oxidised = (absorption(energies, shape) for shape in (REDUCED, OXIDISED))
    for particle in range(3):
        mask = sim.mask(4, particle)
        od = [sim.render(4, energy)[mask].sum(dtype=np.float64) for energy in energies]
        material, oxide = np.linalg.solve(np.stack([reduced, oxidised - reduced], axis=1), od)
        assert oxide / material == pytest.approx(sim.truth.fraction[4, particle], abs=0.002)


def test_truth_survives_a_file(simulator, tmp_path):
    truth = simulator.truth
    truth.save(tmp_path / "truth.npz")
    again = Truth.load(tmp_path / "truth.npz")
    for name in Truth.__dataclass_fields__:
        np.testing.assert_array_equal(getattr(again, name), getattr(truth, name))


def test_truth_of_one_scan_of_several():
    sim = small(scans=3)
    second = sim.truth.select(slice(9, 18))
    np.testing.assert_array_equal(second.frame, np.arange(9, 18))
    np.testing.assert_array_equal(second.yx, sim.truth.yx[9:18])
    whole = Truth.stack([sim.truth.select(slice(0, 9)), sim.truth.select(slice(9, 27))])
    np.testing.assert_array_equal(whole.yx, sim.truth.yx)
    np.testing.assert_array_equal(whole.radius, sim.truth.radius)


@pytest.mark.parametrize("name", [name for name in PRESETS if name != "large_2048"])
def test_presets_can_be_simulated(name):
    sim = Simulator(preset(name, n_energies=5))
    assert sim.truth.visible[0].sum() >= 6
    assert np.isfinite(sim.od(2)).all()


def test_presets_are_the_named_regimes():
    crowd = Simulator(preset("crowd", n_energies=3)).truth
    assert crowd.n_particles == 40
    assert crowd.whole.all()
    assert preset("large_2048").shape == (2048, 2048)
    assert preset("low_counts").counts < 500
    with pytest.raises(ConfigError, match="'nonsense'; choose one of paper"):
        preset("nonsense")


def test_contrast_below_the_edge_can_vanish():
    sim, usual = small(pre_edge=0.01), small()
    assert 0 < sim.truth.od[0].max() < 0.04 < 0.14 < usual.truth.od[0].min()
    assert sim.truth.od[sim.truth.region == "above"].min() > 0.5
    bare = small(pre_edge=0.01, background=0.0)
    inside = bare.od(0)[bare.mask(0, 0)]
    assert inside.mean() == pytest.approx(bare.truth.od[0, 0], rel=0.15)


def test_a_beam_that_moves_after_its_flat_leaves_a_slope():
    quiet = {"n_particles": 0, "background": 0.0, "flicker": 0.0, "counts": 60000.0}
    still, lagging = small(**quiet), small(**quiet, flat_lag_px=15.0)
    slopes = []
    for sim in (still, lagging):
        ratio = (sim.exposures(3, 1)[0] - 100.0) / (sim.flat(3, 1)[0] - 100.0)
        slopes.append(abs(np.median(ratio[:40]) - np.median(ratio[-40:])))
    assert slopes[0] < 2e-3
    assert slopes[1] > 1e-2


def test_the_field_jumps_between_scans():
    still, jumping = small(scans=3), small(scans=3, scan_jump_px=15.0)
    jumps = (jumping.truth.shift - still.truth.shift).reshape(3, 9, 2)
    np.testing.assert_allclose(jumps, jumps[:, :1] + np.zeros((3, 9, 2)))
    assert not jumps[0].any()
    assert np.abs(jumps[1:, 0]).max() > 5
    assert jumping.truth.whole.all()


STILL = {"strain": (0.0, 0.0, 0.0), "rotation_deg": 0.0, "spin_deg": 0.0, "wander_px": 0.0}


def test_rigid_particles_have_no_motion_of_their_own():
    sim = small(**STILL, steps_px=(1.5, 0.5), rigid=2, n_energies=40)
    own = sim.truth.yx - sim.truth.shift[:, None]
    np.testing.assert_allclose(own[:, :2], np.broadcast_to(own[0, :2], (40, 2, 2)), atol=1e-9)
    steps = np.diff(own[:, 2], axis=0)
    assert steps.std(axis=0) == pytest.approx((1.5, 0.5), rel=0.3)
    assert sim.truth.whole.all()
    # images move as the truth says
    before, after = (np.argwhere(sim.mask(f, 0)).mean(axis=0) for f in (0, 39))
    assert after - before == pytest.approx(sim.truth.shift[39] - sim.truth.shift[0], abs=0.15)


def test_steps_add_up_and_leave_room():
    sim = small(**STILL, steps_px=(2.0, 2.0), n_energies=60, shape=(300, 300))
    own = sim.truth.yx - sim.truth.shift[:, None]
    away = np.linalg.norm(own - own[0], axis=2)
    assert away[30:].mean() > 1.5 * away[1:8].mean()
    assert sim.truth.whole.all()
    total = [sum(sim.mask(f, p).astype(int) for p in range(3)).max() for f in (0, 30, 59)]
    assert max(total) == 1


def test_haze_differs_from_frame_to_frame_and_is_smooth():
    hazy, clear = small(haze=0.05), small()
    added = np.stack([hazy.od(f) - clear.od(f) for f in range(9)])
    assert added.std(axis=0).mean() == pytest.approx(0.05, rel=0.3)
    assert np.abs(np.diff(added, axis=1)).max() < 0.01
    assert not np.allclose(added[0], added[1], atol=0.01)
    np.testing.assert_array_equal(hazy.truth.yx, clear.truth.yx)


def test_noise_fluctuates_with_the_counts_but_optical_density_does_not():
    quiet = {"n_particles": 0, "background": 0.0, "flicker": 0.0, "structure": 0.0}
    sim = small(**quiet, counts_spread=0.6, hot_pixels=0)
    means, noise = [], []
    for f in range(9):
        sample, flat = sim.exposures(f, 1)[0] - 100.0, sim.flat(f, 1)[0] - 100.0
        ratio = sample / flat
        means.append(np.median(ratio))
        noise.append(ratio.std())
    assert means == pytest.approx([1.0] * 9, abs=2e-3)
    assert max(noise) > 1.5 * min(noise)
