"""The set is what the paper says of it."""

from __future__ import annotations

import numpy as np
import pytest

from operando.streamer.lab.bench.paper_set import PEAK_RATIO, RIGID, paper_set, peak_ratio, typical
from operando.streamer.lab.simulate import Simulator

STACK = {"background": 0.0, "structure": 0.0}


@pytest.fixture(scope="module", params=[0, 5])
def truth(request):
    return Simulator(paper_set(request.param).model_copy(update=STACK)).truth


def test_size_and_number_are_the_published_ones(truth):
    assert truth.yx.shape == (143, 9, 2)
    assert tuple(truth.shape) == (460, 460)
    assert truth.whole.all()


def test_one_particle_moves_rigidly_and_the_others_do_not(truth):
    own = truth.yx - truth.shift[:, None]
    away = np.ptp(own, axis=0).max(axis=1)
    assert away[RIGID] < 1e-9
    assert np.delete(away, RIGID).min() > 0.5


def test_the_rigid_motion_is_smooth_and_that_of_the_others_random(truth):
    steps = np.diff(truth.yx, axis=0)
    # neighbouring steps are alike only where the motion is smooth
    a, b = steps[:-1].reshape(len(steps) - 1, -1), steps[1:].reshape(len(steps) - 1, -1)
    alike = [np.corrcoef(x, y)[0, 1] for x, y in zip(a.T, b.T, strict=True)]
    alike = np.array(alike).reshape(-1, 2)
    assert alike[RIGID].min() > 0.9
    assert np.delete(alike, RIGID, axis=0).max() < 0.8


def test_peaks_of_the_motion_are_as_published(truth):
    assert peak_ratio(truth) == pytest.approx(PEAK_RATIO, rel=1e-6)


def test_the_rigid_particle_goes_the_shortest_way(truth):
    way = np.linalg.norm(np.diff(truth.yx, axis=0), axis=2).sum(axis=0)
    assert way.argmin() == RIGID


def test_the_particle_shown_moves_by_itself_and_is_of_median_size(truth):
    particle = typical(truth)
    assert particle != RIGID
    others = np.delete(truth.radius, RIGID)
    assert (others < truth.radius[particle]).sum() == 4


def test_quick_has_the_same_velocity():
    quick, full = paper_set(0, quick=True), paper_set(0)
    assert quick.n_energies == 20
    assert quick.drift_px / quick.n_energies == pytest.approx(full.drift_px / full.n_energies)


def test_background_and_noise_fluctuate(series):
    sky = np.array([np.nanmedian(image) for image in series.clean])
    assert sky.std() > 0.01
    noise = np.array([np.nanstd(a - b) for a, b in zip(series.od, series.clean, strict=True)])
    assert noise.max() > 1.5 * noise.min()
