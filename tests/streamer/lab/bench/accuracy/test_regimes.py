"""Regimes: what is simulated, what is asked for, what goes wrong with the images."""

from __future__ import annotations

import numpy as np
import pytest

from operando.streamer.lab.bench.regimes import (
    ACCURACY,
    centre_inside,
    judged_but_spoilt,
    spoil,
    spoilt_frames,
)
from operando.streamer.lab.simulate import SimSettings, Simulator, simulate_documents

SMALL = SimSettings(
    seed=2, shape=(200, 200), n_particles=3, radius_px=(12, 18), n_energies=22, chunk=1
)


@pytest.mark.parametrize("name", ACCURACY)
def test_every_regime_can_be_simulated(name):
    regime = ACCURACY[name]
    quick, full = regime.settings(3, quick=True), regime.settings(3)
    assert quick.seed == 3
    assert quick.n_frames < full.n_frames
    truth = regime.judged(Simulator(quick).truth)
    assert truth.whole.any(axis=1).mean() > 0.8
    assert {"below", "at", "above"} == set(truth.region)


def test_regimes_differ():
    full = {name: regime.settings(0) for name, regime in ACCURACY.items() if name != "mishaps"}
    assert len({settings.model_dump_json() for settings in full.values()}) == len(full)
    assert full["paper"].n_energies == 143
    assert ACCURACY["paper"].order == "fxi"
    assert full["six_scans"].scans == 6


def test_cut_particles_are_asked_for_while_their_centre_is_inside():
    settings = SimSettings(seed=2, n_energies=6, n_particles=8, allow_cut=True, shape=(250, 250))
    truth = Simulator(settings).truth
    judged = centre_inside(truth)
    assert (judged.whole & truth.cut).any()
    assert not (judged.whole & ((truth.yx < 0) | (truth.yx > 249)).any(axis=2)).any()
    assert (judged.whole >= truth.whole).all()


def test_spoilt_images_are_blank_blurred_and_stale():
    def images(documents):
        return [d["data"]["txm_image"][0].astype(float) for n, d in documents if n == "event"]

    plain = images(simulate_documents(SMALL, order="flat_first"))
    spoilt = images(spoil(simulate_documents(SMALL, order="flat_first")))
    first = len(plain) - SMALL.n_energies  # darks and flats come before
    bad = blank, blurred, stale = first + spoilt_frames(SMALL.n_energies)
    changed = [k for k, (a, b) in enumerate(zip(plain, spoilt, strict=True)) if (a != b).any()]
    assert changed == list(bad)
    assert spoilt[blank].mean() == pytest.approx(100, abs=1)
    grain = [np.diff(stack[blurred]).std() for stack in (plain, spoilt)]
    assert grain[1] < 0.3 * grain[0]
    np.testing.assert_array_equal(spoilt[stale], plain[stale - 1])


def test_nothing_is_asked_for_in_spoilt_frames():
    truth = judged_but_spoilt(Simulator(SMALL).truth)
    assert not truth.whole[spoilt_frames(22)].any()
    assert truth.whole.any(axis=1).sum() == 22 - len(spoilt_frames(22))
