"""Scores of results whose errors are known because the test put them in."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from operando.streamer.lab.evaluate import score
from operando.streamer.lab.simulate import SimSettings, Simulator


@pytest.fixture(scope="module")
def truth():
    return Simulator(SimSettings(seed=1, n_energies=60, n_particles=5)).truth


def table(truth, noise=0.0, seed=0):
    """Results that are the truth, plus white noise."""
    frame, particle = np.nonzero(truth.visible)
    yx = truth.yx[frame, particle]
    yx = yx + np.random.default_rng(seed).normal(0, noise, yx.shape)
    return pd.DataFrame(
        {
            "frame": frame,
            "particle": particle + 10,
            "y": yx[:, 0],
            "x": yx[:, 1],
            "state": "tracked",
            "revision": 0,
        }
    )


def test_perfect_results(truth):
    found = score(table(truth), truth)
    assert found.overall.rms == pytest.approx(0, abs=1e-12)
    assert found.recall == found.precision == 1.0
    assert (found.switches, found.fragmentations, found.false_tracks) == (0, 0, 0)
    assert found.overall.n == truth.whole.sum()
    assert found.particles["particles"].tolist() == [[10], [11], [12], [13], [14]]


def test_white_noise_is_measured(truth):
    found = score(table(truth, noise=0.2), truth)
    assert found.overall.rms == pytest.approx(0.2 * np.sqrt(2), rel=0.1)
    assert found.overall.median < found.overall.rms < found.overall.p95
    for region in ("below", "at", "above"):
        assert found.regions[region].rms == pytest.approx(0.28, rel=0.2)


def test_a_constant_offset_is_a_convention_and_still_reported(truth):
    rows = table(truth)
    rows.loc[rows["particle"] == 12, "y"] += 1.5
    found = score(rows, truth)
    assert found.overall.rms == pytest.approx(0, abs=1e-9)
    assert found.raw.rms == pytest.approx(np.sqrt(1.5**2 / 5))
    assert found.particles.loc[2, "offset_y"] == pytest.approx(1.5)


def test_a_step_over_the_edge_is_no_convention(truth):
    rows = table(truth)
    above = truth.region[rows["frame"]] == "above"
    rows.loc[above, "x"] += 0.8
    found = score(rows, truth)
    assert found.step == pytest.approx(0.8)
    assert found.overall.rms > 0.3
    assert found.common == pytest.approx(found.overall.rms)


def test_within_either_side_the_step_does_not_count(truth):
    rows = table(truth, noise=0.1)
    above = truth.region[rows["frame"]] == "above"
    rows.loc[above, "x"] += rows.loc[above, "particle"] - 10
    found = score(rows, truth)
    assert found.overall.rms > 0.5
    for side in ("below", "above"):
        assert found.within[side].rms == pytest.approx(0.1 * np.sqrt(2), rel=0.2)
        assert found.within[side].n == (truth.whole & (truth.region == side)[:, None]).sum()
        assert found.summary()[f"within {side}"]["rms"] == found.within[side].rms


def test_within_needs_more_than_one_position(truth):
    only = np.flatnonzero(truth.region == "below")[0]
    rows = table(truth)
    rows = rows[(truth.region[rows["frame"]] != "below") | (rows["frame"] == only)]
    assert score(rows, truth).within["below"].n == 0


def test_sigmas_come_along_with_the_errors(truth):
    rows = table(truth)
    rows = rows.assign(sigma_y=rows["frame"] + 0.5, sigma_x=rows["particle"] + 0.25)
    errors = score(rows, truth).errors
    np.testing.assert_array_equal(errors["sigma_y"], errors["frame"] + 0.5)
    np.testing.assert_array_equal(errors["sigma_x"], errors["particle"] + 0.25)


def test_misses_lower_the_recall_and_break_trajectories(truth):
    rows = table(truth)
    gone = (rows["particle"] == 11) & rows["frame"].between(20, 25)
    found = score(rows[~gone], truth)
    assert found.recall == pytest.approx(1 - 6 / len(rows))
    assert found.fragmentations == 1
    coasting = rows.assign(state=np.where(gone, "coasting", "tracked"))
    again = score(coasting, truth)
    assert again.recall == found.recall
    assert again.recall_coasting == 1.0


def test_a_new_identity_is_a_switch_and_no_miss(truth):
    rows = table(truth)
    rows.loc[(rows["particle"] == 10) & (rows["frame"] >= 30), "particle"] = 77
    found = score(rows, truth)
    assert found.switches == 1
    assert found.recall == 1.0
    assert found.false_tracks == 0
    assert found.particles.loc[0, "particles"] == [10, 77]
    assert found.overall.n == truth.whole.sum()


def test_swapped_identities_are_two_switches(truth):
    rows = table(truth)
    late = rows["frame"] >= 40
    swapped = rows["particle"].replace({10: 11, 11: 10})
    rows["particle"] = np.where(late, swapped, rows["particle"])
    found = score(rows, truth)
    assert found.switches == 2
    assert found.recall == 1.0


def test_positions_on_nothing_are_false(truth):
    extra = pd.DataFrame(
        {"frame": range(30), "particle": 99, "y": 3.0, "x": 3.0, "state": "tracked", "revision": 0}
    )
    rows = pd.concat([table(truth), extra])
    found = score(rows, truth)
    assert found.false_tracks == 1
    assert found.precision == pytest.approx(1 - 30 / len(rows))
    tentative = score(pd.concat([table(truth), extra.assign(state="tentative")]), truth)
    assert tentative.false_tracks == 0


def test_a_result_outside_the_gate_is_a_miss(truth):
    rows = table(truth)
    there = (rows["particle"] == 10) & (rows["frame"] == 5)
    rows.loc[there, "y"] += 0.6 * truth.radius[0]
    assert score(rows, truth).recall < 1
    assert score(rows, truth, gate=0.7).recall == 1


def test_revisions(truth):
    first = table(truth, noise=0.5)
    later = table(truth).assign(revision=1)
    retracted = later[~((later["particle"] == 13) & (later["frame"] == 7))]
    rows = pd.concat([first, retracted])
    assert score(rows, truth, revision="first").overall.rms > 0.5
    final = score(rows, truth)
    assert final.overall.rms < 1e-9
    assert final.recall < 1


def test_cut_particles_count_neither_way():
    truth = Simulator(
        SimSettings(seed=2, n_energies=6, n_particles=8, allow_cut=True, shape=(250, 250))
    ).truth
    assert truth.cut.any()
    seen = table(truth)
    whole = seen[truth.whole[seen["frame"], seen["particle"] - 10]]
    for rows in (seen, whole):
        found = score(rows, truth)
        assert found.recall == found.precision == 1.0
        assert found.overall.n == truth.whole.sum()


def test_no_results_at_all(truth):
    found = score(table(truth).iloc[:0], truth)
    assert found.recall == 0
    assert np.isnan(found.overall.rms)
    assert found.summary()["recall"] == 0


def test_unusable_tables_are_refused(truth):
    with pytest.raises(ValueError, match="columns \\['revision'\\] are missing"):
        score(table(truth).drop(columns="revision"), truth)
    with pytest.raises(ValueError, match=r"Truth\.select"):
        score(table(truth), truth.select(slice(0, 10)))


def test_summary_is_plain_numbers(truth):
    summary = score(table(truth, noise=0.1), truth).summary()
    assert set(summary) >= {"overall", "raw", "below", "at", "above", "recall", "switches", "step"}
    leaves = [v for s in summary.values() for v in (s.values() if isinstance(s, dict) else [s])]
    assert {type(v) for v in leaves} <= {int, float}
