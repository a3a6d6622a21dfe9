from dataclasses import fields, replace

import numpy as np
import pytest

from operando.streamer.lab.training.scenes import FRAMES, random_scene, random_scenes
from operando.streamer.lab.training.settings import Effect, Effects, random_settings

NONE = Effects().rarer(0.0)
_WITH_PARTICLES = 11


@pytest.fixture(scope="module")
def scenes():
    return [scene for seed in range(4) for scene in random_scenes(seed, FRAMES)]


def test_the_same_seed_gives_the_same_scene():
    again = list(random_scenes(3, 2))
    for one, other in zip(random_scenes(3, 2), again, strict=True):
        np.testing.assert_array_equal(one.od, other.od)
        np.testing.assert_array_equal(one.labels, other.labels)
        np.testing.assert_array_equal(one.yx, other.yx)
    assert not np.array_equal(again[0].od, again[1].od)
    assert not np.array_equal(again[0].od, random_scene(4).od)


def test_a_scene_does_not_depend_on_how_many_are_drawn():
    np.testing.assert_array_equal(random_scene(5).od, next(random_scenes(5, 3)).od)


def test_shapes_and_types(scenes):
    for scene in scenes:
        assert scene.od.shape == scene.valid.shape == scene.labels.shape == (256, 256)
        assert (scene.od.dtype, scene.labels.dtype) == (np.float32, np.int32)
        assert np.isfinite(scene.od).all()
        assert (scene.od[~scene.valid] == 0).all()
        count = len(scene.yx)
        assert set(np.unique(scene.labels)) - {0} == set(range(1, count + 1))
        for name in ("diameter", "contrast", "snr", "whole", "visibility", "alone"):
            assert len(getattr(scene, name)) == count


def test_the_truth_fits_the_image(scenes):
    checked = 0
    for scene in scenes:
        inside = (scene.labels > 0) & scene.valid
        outside = (scene.labels == 0) & scene.valid
        if not inside.any() or np.median(scene.visibility) < 30:
            continue
        checked += 1
        assert np.median(scene.od[inside]) > np.median(scene.od[outside])
        # a mask that lies elsewhere by its own size fits worse
        shift = int(scene.diameter.mean())
        elsewhere = np.roll(inside, (shift, shift), (0, 1)) & scene.valid
        assert scene.od[inside].mean() > scene.od[elsewhere].mean()
    assert checked >= 3


def test_centre_and_diameter_are_those_of_the_silhouette(scenes):
    checked = 0
    for scene in scenes:
        for i in np.flatnonzero(scene.whole):
            one = scene.alone[i]
            y, x = np.nonzero(one.silhouette)
            centre = np.array([y.mean() + one.box[0].start, x.mean() + one.box[1].start])
            assert np.hypot(*(centre - scene.yx[i])) < 0.3
            area = np.pi / 4 * scene.diameter[i] ** 2
            assert one.silhouette.sum() == pytest.approx(area, rel=0.08)
            checked += 1
    assert checked >= 10


def test_the_clean_target_is_about_one_whatever_the_contrast(scenes):
    for scene in scenes:
        for i in range(len(scene.yx)):
            inside = scene.thickness[scene.labels == i + 1]
            assert inside.min() >= -0.01
            assert np.percentile(scene.alone[i].thickness[scene.alone[i].silhouette], 95) == (
                pytest.approx(1, abs=0.01)
            )
        assert (scene.thickness[scene.labels == 0] == 0).all()


def test_contrast_is_what_the_image_shows():
    shown, true = [], []
    for seed in range(8):
        for scene in random_scenes(seed, 2, effects=NONE):
            inside = (scene.labels > 0) & scene.valid
            if len(scene.yx) and np.median(scene.visibility) > 30 and scene.whole.all():
                outside = (scene.labels == 0) & scene.valid
                shown.append(scene.od[inside].mean() - scene.od[outside].mean())
                true.append(np.average(scene.contrast, weights=scene.diameter**2))
    assert len(true) >= 3
    # particles that lie over each other, wild pixels at the dark sides
    np.testing.assert_allclose(shown, true, rtol=0.25, atol=0.03)


def test_noise_is_what_the_signal_to_noise_ratio_says():
    # same scene without any effect: second differences see nothing but noise
    ratios = []
    for seed in range(8):
        scene = random_scene(seed, effects=NONE)
        for i in np.flatnonzero(scene.whole):
            box = scene.alone[i].box
            od, inside = scene.od[box], scene.alone[i].silhouette & scene.valid[box]
            second = od[:, 1:-1] - (od[:, 2:] + od[:, :-2]) / 2
            usable = inside[:, 1:-1] & inside[:, 2:] & inside[:, :-2]
            if usable.sum() > 200 and scene.snr[i] < 8:
                noise = 1.4826 * np.median(np.abs(second[usable])) / np.sqrt(1.5)
                ratios.append(scene.contrast[i] / noise / scene.snr[i])
    assert len(ratios) >= 5
    assert np.median(ratios) == pytest.approx(1, abs=0.15)


def test_every_effect_draws_within_its_range_as_often_as_it_says():
    rng = np.random.default_rng(0)
    drawn = np.array([Effect(share=0.3, low=0.5, high=2.0).draw(rng) for _ in range(2000)])
    assert np.mean(drawn > 0) == pytest.approx(0.3, abs=0.04)
    assert drawn[drawn > 0].min() >= 0.5
    assert drawn.max() <= 2.0


@pytest.fixture(scope="module")
def plain():
    return random_scene(_WITH_PARTICLES, 128, NONE)


@pytest.mark.parametrize("name", [f.name for f in fields(Effects) if f.name != "halo_width"])
def test_every_effect_reaches_the_image(name, plain):
    assert len(plain.yx)
    values = {f.name: getattr(NONE, f.name) for f in fields(Effects)}
    values |= {"halo_width": Effects().halo_width}
    values[name] = replace(getattr(Effects(), name), share=1.0)
    changed = random_scene(_WITH_PARTICLES, 128, Effects(**values))
    assert not np.array_equal(changed.od, plain.od)
    # an effect is drawn after the places of the particles and before anything that moves them
    np.testing.assert_allclose(changed.yx, plain.yx)


def test_settings_cover_what_is_asked_for():
    rng = np.random.default_rng(1)
    drawn = [random_settings(rng) for _ in range(400)]
    assert 0.01 < np.mean([s.n_particles == 0 for s in drawn]) < 0.1
    assert max(s.n_particles for s in drawn) >= 12
    assert min(s.radius_px[0] for s in drawn) < 9
    assert max(s.radius_px[1] for s in drawn) > 60
    lowest = [s.edge_od * s.pre_edge for s in drawn]
    assert min(lowest) < 0.01
    assert max(s.edge_od for s in drawn) > 1.7
    assert min(s.counts for s in drawn) < 200
    assert max(s.counts for s in drawn) > 15000
    assert {s.chunk for s in drawn} == {1, 2, 3, 4}
    assert {s.allow_cut for s in drawn} == {True, False}
    assert max(random_settings(rng, 512).radius_px[1] for _ in range(200)) > 120


def test_hard_scenes_occur(scenes):
    many = [s for seed in range(20, 32) for s in random_scenes(seed, 2, 128)] + scenes
    assert any(len(s.yx) == 0 for s in many)
    contrast = np.concatenate([s.contrast for s in many])
    assert contrast.min() < 0.03
    assert contrast.max() > 0.8
    assert np.concatenate([s.snr for s in many]).min() < 1
    assert not np.concatenate([s.whole for s in many]).all()
    assert np.concatenate([s.visibility for s in many]).min() < 2.5
