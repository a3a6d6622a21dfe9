"""Errors drawn from known distributions have a known calibration."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from operando.streamer.lab.evaluate.bound import calibration


def drawn(n_particles=40, n_frames=60, seed=0, spread=(0.05, 1.0)):
    """Errors that are as large as they say, with an offset per particle."""
    rng = np.random.default_rng(seed)
    truth, frame = np.divmod(np.arange(n_particles * n_frames), n_frames)
    sigma = np.exp(rng.uniform(*np.log(spread), (len(truth), 2)))
    error = sigma * rng.standard_normal(sigma.shape) + rng.normal(0, 3, (n_particles, 2))[truth]
    return pd.DataFrame(
        {
            "frame": frame,
            "truth": truth,
            "region": np.select([frame < 10, frame < 30], ["below", "at"], "above"),
            "raw_dy": error[:, 0],
            "raw_dx": error[:, 1],
            "sigma_y": sigma[:, 0],
            "sigma_x": sigma[:, 1],
        }
    )


def test_honest_results():
    found = calibration(drawn())
    assert set(found) == {"overall", "below", "at", "above", "within below", "within above"}
    for one in found.values():
        assert one.nees == pytest.approx(2, rel=0.1)
        assert one.robust_nees == pytest.approx(2, rel=0.15)
        assert one.coverage_68 == pytest.approx(0.68, abs=0.04)
        assert one.coverage_95 == pytest.approx(0.95, abs=0.02)
    assert found["overall"].n == 2400
    assert found["below"].n == 400


def test_few_frames_lose_degrees_of_freedom_and_stay_at_two():
    errors = drawn(n_particles=3000, n_frames=3)
    found = calibration(errors)["overall"]
    assert found.nees == pytest.approx(2, rel=0.05)
    plain = errors.assign(sigma_y=0.3, sigma_x=0.3)
    mean = plain.groupby("truth")[["raw_dy", "raw_dx"]].transform("mean")
    naive = (((plain[["raw_dy", "raw_dx"]] - mean) / 0.3) ** 2).to_numpy().sum(axis=1).mean()
    assert calibration(plain)["overall"].nees == pytest.approx(naive * 3 / 2)


def test_errors_twice_as_large_as_told():
    errors = drawn()
    told = errors.assign(sigma_y=errors["sigma_y"] / 2, sigma_x=errors["sigma_x"] / 2)
    found = calibration(told)["overall"]
    assert found.nees == pytest.approx(4 * calibration(errors)["overall"].nees)
    assert found.coverage_68 == pytest.approx(1 - 0.32**0.25, abs=0.03)


def test_a_step_counts_overall_and_not_within_a_side():
    errors = drawn(spread=(0.1, 0.2))
    errors.loc[errors["region"] == "above", "raw_dx"] += 1.0
    found = calibration(errors)
    assert found["overall"].nees > 10
    assert found["within above"].nees == pytest.approx(2, rel=0.1)


def test_the_median_forgives_gross_errors():
    errors = drawn()
    errors.loc[::50, "raw_dy"] += 30.0
    found = calibration(errors)["overall"]
    assert found.nees > 50
    assert found.robust_nees < 4


def test_rows_that_tell_nothing_are_left_out():
    errors = drawn(n_particles=2, n_frames=30)
    errors.loc[0, "sigma_y"] = np.nan
    errors.loc[1, "sigma_x"] = 0.0
    errors.loc[2, "sigma_x"] = np.inf
    assert calibration(errors)["overall"].n == 57
    once = errors[(errors["truth"] == 0) | (errors["frame"] == 5)]
    assert calibration(once)["overall"].n == 27
    assert np.isnan(calibration(errors.iloc[:0])["overall"].nees)
    with pytest.raises(ValueError, match=r"\['sigma_x'\] are missing"):
        calibration(errors.drop(columns="sigma_x"))
