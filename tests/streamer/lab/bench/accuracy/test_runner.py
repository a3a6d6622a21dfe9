"""Figures of the bench against a computation of their own."""

from __future__ import annotations

import numpy as np
import pytest

from operando.streamer.lab.bench.accuracy import (
    OURS,
    best_possible,
    measure,
    our_estimates,
    record_scan,
)
from operando.streamer.lab.bench.estimates import Estimate, peer_start
from operando.streamer.lab.simulate import SimSettings, Simulator


@pytest.fixture(scope="module")
def best(scene):
    return best_possible(scene)


@pytest.fixture(scope="module")
def final(scene):
    return list(our_estimates(scene))[1]


def errors_of(rows, truth):
    """Errors (F, P, 2) by nearest true particle of each row, without the bench's machinery."""
    found = np.full(truth.yx.shape, np.nan)
    for row in rows[rows["state"].isin(["tentative", "tracked"])].itertuples():
        there = np.array([row.y, row.x])
        particle = np.linalg.norm(truth.yx[row.frame] - there, axis=1).argmin()
        found[row.frame, particle] = there
    return found - truth.yx


def rms(errors):
    squared = (errors**2).sum(axis=-1)
    return np.sqrt(np.nanmean(squared))


def rms_about_mean(errors):
    """Rms about each particle's mean, of which one degree of freedom is gone."""
    assert np.isfinite(errors).all()
    n = len(errors)
    return rms(errors - errors.mean(axis=0)) * np.sqrt(n / (n - 1))


def test_figures_are_those_of_an_independent_computation(result, scene, final, best):
    truth, figures = scene.truth, result.figures[OURS[1]]
    raw = errors_of(final.rows, truth)
    centred = raw - np.nanmean(raw, axis=0)
    assert figures["rms"] == pytest.approx(rms(centred))
    assert figures["offset"] == pytest.approx(rms(raw))
    distance = np.hypot(*np.moveaxis(centred, -1, 0))
    assert figures["median"] == pytest.approx(np.nanmedian(distance))
    assert figures["p95"] == pytest.approx(np.nanpercentile(distance, 95))
    for side in ("below", "at", "above"):
        assert figures[side] == pytest.approx(rms(centred[truth.region == side]))
    above, below = raw[truth.region == "above"], raw[truth.region == "below"]
    assert figures["within_above"] == pytest.approx(rms_about_mean(above))
    assert figures["within_below"] == pytest.approx(rms_about_mean(below))
    step = np.nanmean(above, axis=0) - np.nanmean(below, axis=0)
    assert figures["step"] == pytest.approx(rms(step))
    bound = np.sqrt((best.bound.sd**2).sum(axis=-1).mean())
    assert figures["crb_within"] == pytest.approx(rms_about_mean(above) / bound)
    assert figures["crb_above"] == pytest.approx(figures["above"] / bound)
    assert figures["recall"] == pytest.approx(np.isfinite(raw[..., 0]).mean())
    assert figures["switches"] == 0
    assert figures["idf1"] == pytest.approx(1.0, abs=0.05)


def test_first_and_highest_revisions_are_told_apart(result, scene):
    assert set(scene.particles["revision"]) >= {0, 1}
    first, final = (result.figures[name] for name in OURS)
    assert final["rms"] < 0.8 * first["rms"]
    assert final["rms"] < 0.4


def test_a_constant_shift_is_a_convention(scene, final, best):
    plain = measure(final, scene, best).figures
    moved = final.rows.assign(y=final.rows["y"] + 4.0)
    shifted = measure(Estimate(name="moved", rows=moved), scene, best).figures
    assert shifted["rms"] == pytest.approx(plain["rms"])
    assert shifted["offset"] == pytest.approx(4.0, abs=1.0)


def test_a_shift_over_the_edge_raises_the_errors(scene, final, best):
    plain = measure(final, scene, best).figures
    late = scene.truth.region[final.rows["frame"]] == "above"
    moved = final.rows.assign(x=final.rows["x"] + np.where(late, 2.0, 0.0))
    shifted = measure(Estimate(name="moved", rows=moved), scene, best).figures
    assert shifted["rms"] > plain["rms"] + 0.5
    assert shifted["step"] == pytest.approx(2.0, abs=plain["step"] + 0.05)
    assert shifted["within_above"] == pytest.approx(plain["within_above"])
    assert shifted["nees"] > plain["nees"]
    assert shifted["residual"] > plain["residual"]


def test_a_slip_is_a_miss_and_shows_in_whole_trajectories(scene, final, best):
    plain = measure(final, scene, best).figures
    slipped = final.rows["frame"] == 9
    moved = final.rows.assign(y=final.rows["y"] + np.where(slipped, 15.0, 0.0))
    found = measure(Estimate(name="moved", rows=moved), scene, best).figures
    assert found["recall"] == pytest.approx(plain["recall"] - 1 / scene.truth.n_frames)
    assert found["rms"] == pytest.approx(plain["rms"], abs=0.05)
    assert found["ungated"] == pytest.approx(15 / np.sqrt(scene.truth.n_frames), rel=0.05)
    assert found["ssim"] < plain["ssim"]


def test_without_slips_whole_trajectories_say_the_same(result):
    figures = result.figures["near_truth"]
    assert figures["ungated"] == pytest.approx(figures["rms"])


def test_peers_are_measured_in_the_same_way(result, scene):
    figures = result.figures["near_truth"]
    n = scene.truth.n_frames
    assert figures["rms"] == pytest.approx(0.3 * np.sqrt(2 * (1 - 1 / n)), rel=0.2)
    assert figures["recall"] == 1.0
    assert "nees" not in figures
    assert figures["ssim"] < figures["ssim_oracle"]


def test_a_peer_that_gives_up_is_told_with_its_reason(result):
    assert result.failures == {"broken": "ValueError: no features in frame 3"}
    assert result.figures["broken"]["recall"] == 0
    assert np.isnan(result.figures["broken"]["rms"])


def test_peers_start_where_the_particles_are_best_seen(scene):
    start = peer_start(scene.truth)
    assert scene.truth.region[start.frame0] != "below"
    np.testing.assert_array_equal(start.yx, scene.truth.yx[start.frame0])
    late = Simulator(
        SimSettings(seed=1, n_energies=40, n_particles=3, births=1, radius_px=(12, 16))
    ).truth
    start = peer_start(late)
    assert np.isfinite(start.yx).all(axis=1).sum() == late.whole[start.frame0].sum()


def test_progress_grows_to_the_end(result, steps):
    shares = [done / of for _, done, of in steps]
    assert shares == sorted(shares)
    assert shares[-1] == 1.0
    assert {"processing", *result.figures} <= {what for what, *_ in steps}


def test_several_scans_are_one_series_with_lasting_identities(tiny, regime, settings):
    twice = tiny.model_copy(update={"scans": 2, "n_energies": 8, "scan_jump_px": 6.0})
    scene = record_scan(regime, twice, settings)
    assert scene.od.shape == (16, 200, 200)
    assert scene.truth.n_frames == 16
    assert sorted(scene.frames["frame"].unique()) == list(range(16))
    assert len(scene.ledgers) == 2
    figures = measure(list(our_estimates(scene))[1], scene, best_possible(scene)).figures
    assert figures["switches"] == 0
    assert figures["recall"] > 0.8


def test_the_stack_is_what_the_processor_saw(scene):
    for frame in (0, 11):
        ideal = scene.simulator.od(frame)
        known = np.isfinite(scene.od[frame])
        difference = (scene.od[frame] - ideal)[known]
        assert known.mean() > 0.9
        assert np.median(np.abs(difference - np.median(difference))) < 0.03
