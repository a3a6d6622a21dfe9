"""Sums that run along: equal to a fit of everything at once, and revised without a trace."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from operando.streamer.core import xanes
from operando.streamer.core.results import Status
from operando.streamer.core.xanes.fit import weights
from operando.streamer.core.xanes.state import apply_pending, exact_product

from .conftest import SETTINGS, Scene


def run(results, basis, settings=SETTINGS):
    state, told = xanes.init(), []
    for result in results:
        state, rows = xanes.update(state, result, basis, settings)
        told.append(rows)
    return state, told


def same_end(one, other, basis):
    """All that is told in the end is equal in every bit, but for how often it was told."""
    a, b = (xanes.finish(state, basis, SETTINGS) for state in (one, other))
    assert a.spectra
    assert a.maps

    def plain(rows):
        bare = (replace(row, revision=0) for row in rows)
        return sorted(bare, key=lambda row: (row.particle, getattr(row, "frame", 0)))

    for x, y in zip(plain(a.spectra), plain(b.spectra), strict=True):
        for name in type(x).__dataclass_fields__:
            np.testing.assert_array_equal(getattr(x, name), getattr(y, name), err_msg=name)
    for x, y in zip(plain(a.maps), plain(b.maps), strict=True):
        for name in type(x).__dataclass_fields__:
            np.testing.assert_array_equal(getattr(x, name), getattr(y, name), err_msg=name)


def batch(scene, number, basis, offsets):
    """Least squares of each pixel from the ROIs themselves."""
    rois = np.stack([scene.roi(f, number).astype(np.float64) for f in range(len(scene.energies))])
    middle = rois[:, scene.side * 3 // 8 : scene.side * 5 // 8 + 1]
    middle = middle[:, :, scene.side * 3 // 8 : scene.side * 5 // 8 + 1].mean(axis=(1, 2))
    rows = basis.rows(np.array(scene.energies))
    root = np.sqrt(weights(scene.noise, middle))
    pixels = (rois - offsets[:, None, None]).reshape(len(rois), -1)
    found = np.linalg.lstsq(rows * root[:, None], pixels * root[:, None], rcond=None)[0]
    return (found[-1] / (found[-1] + found[-2])).reshape(rois.shape[1:])


def test_incremental_equals_batch(basis):
    scene = Scene()
    state, _ = run(scene.results(), basis)
    told = xanes.finish(state, basis, SETTINGS)
    assert {item.particle for item in told.maps} == {3, 8}
    for item in told.maps:
        rows = sorted((r for r in told.spectra if r.particle == item.particle), key=_frame)
        wanted = batch(scene, item.particle, basis, np.array([r.surroundings for r in rows]))
        inside = np.isfinite(item.fraction)
        assert inside[scene.disc].all()
        np.testing.assert_allclose(item.fraction[inside], wanted[inside], atol=1e-6)


def test_a_revised_frame_leaves_no_trace_of_its_first_value(basis):
    scene = Scene()
    fresh, _ = run(scene.results(revision=1), basis)
    state, _ = run(scene.results(), basis)
    for result in scene.results(revision=1):
        state, _ = xanes.update(state, result, basis, SETTINGS)
    for number in scene.fractions:
        one, other = (apply_pending(s.particles[number], number, s.frames) for s in (state, fresh))
        np.testing.assert_array_equal(one.sums, other.sums)
        np.testing.assert_array_equal(one.missing, other.missing)
    same_end(state, fresh, basis)


def test_revisions_in_silence_are_the_same(basis):
    scene = Scene()
    loud, _ = run(scene.results(), basis)
    quiet = loud
    for result in scene.results(revision=1):
        loud, _ = xanes.update(loud, result, basis, SETTINGS)
        quiet = xanes.revise(quiet, result, basis, SETTINGS)
    same_end(loud, quiet, basis)


def test_the_order_of_frames_does_not_matter(basis):
    scene = Scene()
    results = scene.results()
    mixed = [results[i] for i in np.random.default_rng(0).permutation(len(results))]
    for number in scene.fractions:
        states = (run(r, basis)[0] for r in (results, mixed))
        one, other = (apply_pending(s.particles[number], number, s.frames) for s in states)
        np.testing.assert_array_equal(one.sums, other.sums)


def test_pixels_without_values_are_fitted_with_the_frames_they_have(basis):
    def hole(image):
        out = image.copy()
        out[20:24, 18:22] = np.nan
        return out

    holes = {(f, 3): hole for f in range(22, 30)}
    state, _ = run(Scene(changes=holes, noise=0.0, flicker=0.0).results(), basis)
    told = xanes.finish(state, basis, SETTINGS)
    clean, _ = run(Scene(noise=0.0, flicker=0.0).results(), basis)
    wanted = xanes.finish(clean, basis, SETTINGS)
    assert state.particles[3].missing.max() == 8
    for item, full in zip(told.maps, wanted.maps, strict=True):
        both = np.isfinite(item.fraction) & np.isfinite(full.fraction)
        assert both[20:24, 18:22].all()
        np.testing.assert_allclose(item.fraction[both], full.fraction[both], atol=5e-4)
    # the mean of a particle a part of which is hidden is not that of what is left
    means = {r.frame: r.od for r in told.spectra if r.particle == 3}
    usual = {r.frame: r.od for r in wanted.spectra if r.particle == 3}
    for frame in range(22, 30):
        assert means[frame] == pytest.approx(usual[frame], abs=2e-3)


def test_a_frame_that_turns_out_useless_is_taken_out(basis):
    scene = Scene()
    results = scene.results()
    state, _ = run(results, basis)
    blurred = scene.result(30, revision=1, status=Status.DEGRADED, reason="blurred")
    state, told = xanes.update(state, blurred, basis, SETTINGS)
    assert told.spectra == ()
    same_end(state, run([r for r in results if r.frame != 30], basis)[0], basis)


@pytest.mark.parametrize(
    "change",
    [
        {"status": Status.SKIPPED, "particles": ()},
        {"energy": float("nan")},
        {"reason": "few_particles;blurred"},
    ],
)
def test_frames_that_tell_nothing_change_nothing(basis, change):
    scene = Scene()
    before, _ = run(scene.results()[:5], basis)
    after, told = xanes.update(before, scene.result(5, **change), basis, SETTINGS)
    assert after is before
    assert told == xanes.XanesUpdate()


def test_particles_whose_place_is_not_known_are_left_out(basis):
    scene = Scene()
    result = scene.result(0)
    lost = replace(result.particles[0], state="lost")
    vague = replace(result.particles[1], sigma=np.full(2, 9.0))
    state, told = xanes.update(
        xanes.init(), replace(result, particles=(lost, vague)), basis, SETTINGS
    )
    assert told == xanes.XanesUpdate()
    assert state == xanes.init()


def test_memory_is_bounded_and_what_is_known_can_still_be_revised(basis):
    scene = Scene()
    size = 2 * scene.side**2 * 4
    settings = SETTINGS.model_copy(update={"memory_mb": 10.5 * size / 1e6})
    state, told = run(scene.results(), basis, settings)
    assert state.full
    assert state.held_bytes == 10 * size
    assert [len(rows.spectra) for rows in told] == [2] * 10 + [0] * 50
    after, rows = xanes.update(state, scene.result(4, revision=1), basis, settings)
    assert len(rows.spectra) == 2
    assert after.held_bytes == state.held_bytes


def test_sums_are_those_of_integers():
    rng = np.random.default_rng(3)
    rows = rng.integers(-(2**27), 2**27, (16, 4))
    pixels = rng.integers(-(2**28), 2**28, (16, 35))
    wanted = [[sum(int(r[k]) * int(x[i]) for r, x in zip(rows, pixels, strict=True))
               for i in range(35)] for k in range(4)]  # fmt: skip
    np.testing.assert_array_equal(exact_product(rows, pixels.astype(float)), wanted)


def _frame(row):
    return row.frame
