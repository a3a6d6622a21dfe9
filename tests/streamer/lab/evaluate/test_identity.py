"""Identity metrics of small cases that can be worked out by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from operando.streamer.lab.evaluate.identity import hota_of, identity
from operando.streamer.lab.simulate import SimSettings, Simulator

N = 10
GATE = 0.5


@pytest.fixture(scope="module")
def truth():
    sim = Simulator(SimSettings(seed=1, n_energies=N, n_particles=2, wander_px=0.0))
    assert sim.truth.whole.all()
    return sim.truth


def rows_of(truth):
    frame, particle = np.divmod(np.arange(2 * N), 2)
    yx = truth.yx[frame, particle]
    return pd.DataFrame(
        {
            "frame": frame,
            "particle": particle + 5,
            "y": yx[:, 0],
            "x": yx[:, 1],
            "state": "tracked",
            "revision": 0,
        }
    )


def test_perfect(truth):
    found = identity(rows_of(truth), truth)
    assert (found.idf1, found.detection, found.false_per_frame) == (1, 1, 0)
    assert found.hota == pytest.approx(1)
    assert (found.hidden.n, found.missed.n) == (0, 0)


def test_identities_swapped_half_way(truth):
    rows = rows_of(truth)
    rows.loc[rows["frame"] >= N // 2, "particle"] = 11 - rows["particle"]
    found = identity(rows, truth)
    # one identity explains half of a particle; of 10 + 10 instances 5 are common: 5 / 15
    assert found.idf1 == pytest.approx(0.5)
    assert found.detection == 1
    assert found.association == pytest.approx(1 / 3)
    assert found.hota == pytest.approx(np.sqrt(1 / 3))


def test_an_identity_that_changes(truth):
    rows = rows_of(truth)
    rows.loc[(rows["frame"] >= 4) & (rows["particle"] == 5), "particle"] = 9
    found = identity(rows, truth)
    assert found.idf1 == pytest.approx(2 * (6 + 10) / 40)
    # 4 instances of 4 + 10 - 4, 6 of 6 + 10 - 6, and 10 of 10
    assert found.association == pytest.approx((4 * 0.4 + 6 * 0.6 + 10 * 1.0) / 20)
    assert found.missed.n == 0


def test_half_of_the_instances_missed(truth):
    rows = rows_of(truth)
    found = identity(rows[(rows["particle"] == 6) | (rows["frame"] < 5)], truth)
    assert found.idf1 == pytest.approx(2 * 15 / 35)
    assert found.detection == pytest.approx(15 / 20)
    assert found.association == pytest.approx((5 * 0.5 + 10) / 15)
    assert (found.missed.n, found.missed.never) == (1, 1)
    assert np.isnan(found.missed.median)


def test_distance_lowers_hota_only(truth):
    rows = rows_of(truth)
    number = rows["particle"] - 5
    rows["y"] += 0.42 * GATE * truth.radius[number]
    found = identity(rows, truth, gate=GATE)
    assert found.idf1 == 1
    # similarity 0.58: eleven of the thresholds 0.05, 0.10, ... 0.95
    assert found.hota == pytest.approx(11 / 19)
    rows["y"] += 0.6 * GATE * truth.radius[number]
    assert identity(rows, truth, gate=GATE).idf1 == 0


def test_false_positions_and_duplicates(truth):
    rows = rows_of(truth)
    extra = rows[rows["particle"] == 5].assign(particle=8)
    nothing = extra.assign(y=2.0, x=2.0, state="tentative")
    found = identity(pd.concat([rows, nothing]), truth)
    assert (found.false_per_frame, found.tracked_false_per_frame) == (1.0, 0.0)
    assert found.duplicates_per_frame == 0
    assert found.idf1 == pytest.approx(2 * 20 / 50)
    assert found.detection == pytest.approx(20 / 30)
    assert found.association == pytest.approx(1)
    twice = identity(pd.concat([rows, extra.assign(y=extra["y"] + 1)]), truth)
    assert (twice.false_per_frame, twice.tracked_false_per_frame) == (1.0, 1.0)
    assert twice.duplicates_per_frame == 1.0
    coasting = identity(pd.concat([rows, nothing.assign(state="coasting")]), truth)
    assert coasting.false_per_frame == 0


def test_cut_instances_count_neither_way(truth):
    cut = np.zeros((N, 2), bool)
    cut[3:6, 0] = True
    rows = rows_of(truth)
    judged = replace(truth, cut=cut)
    away = rows[~((rows["particle"] == 5) & rows["frame"].between(3, 5))]
    for one in (rows, away):
        found = identity(one, judged)
        assert (found.idf1, found.false_per_frame, found.missed.n) == (1, 0, 0)
        assert found.hota == pytest.approx(1)


def test_reacquisition(truth):
    """Particle 0 vanishes in frames 2 and 3 and is found two frames late, as another one."""
    visible = np.ones((N, 2), bool)
    visible[2:4, 0] = False
    visible[0, 1] = False
    rows = rows_of(truth)
    first, second = rows["particle"] == 5, rows["particle"] == 6
    rows.loc[first & (rows["frame"] > 3), "particle"] = 7
    gone = first & rows["frame"].between(2, 5)
    gone |= second & rows["frame"].isin([0, 6, 7, 8])
    found = identity(rows[~gone], replace(truth, visible=visible))
    # hidden: particle 0 returns in frame 4 and is found in 6; particle 1 comes in and is found
    assert (found.hidden.n, found.hidden.never) == (2, 0)
    assert (found.hidden.median, found.hidden.longest) == (1.0, 2.0)
    assert found.hidden.kept == 0.0
    assert (found.missed.n, found.missed.longest, found.missed.kept) == (1, 3.0, 1.0)


def test_a_loss_that_ends_in_hiding_is_not_found_again(truth):
    visible = np.ones((N, 2), bool)
    visible[4:6, 0] = False
    rows = rows_of(truth)
    found = identity(
        rows[~((rows["particle"] == 5) & rows["frame"].between(2, 6))],
        replace(truth, visible=visible),
    )
    assert (found.missed.n, found.missed.never) == (1, 1)
    assert (found.hidden.n, found.hidden.longest, found.hidden.kept) == (1, 1.0, 1.0)


def test_nothing_measured(truth):
    found = identity(rows_of(truth).iloc[:0], truth)
    assert (found.idf1, found.hota, found.false_per_frame) == (0, 0, 0)
    assert found.hidden.n == 0


def test_association_settles_which_result_is_taken():
    """Of two results at one place, HOTA takes the one that stays with the particle."""
    similar = np.zeros((4, 2, 1))
    similar[:, 0] = 0.8
    similar[0, 1] = 0.9
    found = np.array([[1, 1], [1, 0], [1, 0], [1, 0]], bool)
    hota, detection, association = hota_of(similar, found, np.ones((4, 1), bool))
    share = 16 / 19
    assert association == pytest.approx(share)
    assert detection == pytest.approx(share * 4 / 5)
    assert hota == pytest.approx(share * np.sqrt(4 / 5))
