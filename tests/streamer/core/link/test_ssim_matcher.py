"""Identity by look alone; what any linker must do is asked in test_linker.py."""

from __future__ import annotations

import numpy as np
import pytest

from operando.models.detector import Detections
from operando.streamer.core.link import LinkSettings, TrackState, make_linker

SHAPE = (300, 300)
CENTRES = np.array([[60.0, 60.0], [80.0, 200.0], [190.0, 70.0], [210.0, 210.0], [140.0, 140.0]])
LOBES = (2, 3, 4, 5, 2)
TURNS = (0.0, 0.5, 0.2, 0.9, 1.6)  # rad


@pytest.fixture
def linker():
    return make_linker(LinkSettings(kind="ssim"))


def field(centres=CENTRES, *, rows=None, contrast=1.0, noise=0.0, seed=0):
    """Bodies of about the same area and different contours, in the order of `rows`."""
    rows = list(range(len(centres))) if rows is None else rows
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]].astype(float)
    labels, od = np.zeros(SHAPE, np.int32), np.zeros(SHAPE)
    columns = []
    for row in rows:
        dy, dx = y - centres[row][0], x - centres[row][1]
        angle = np.arctan2(dy, dx) - TURNS[row]
        radius = 17 * (1 + 0.25 * np.cos(LOBES[row] * angle))
        inside = np.hypot(dy, dx) <= radius
        if inside.sum() < 20:
            continue
        labels[inside] = len(columns) + 1
        # thinner to its rim, thicker on one side
        od[inside] = contrast * (1.2 - 0.6 * (np.hypot(dy, dx) / radius) ** 2)[inside]
        od[inside] += contrast * 0.01 * (dy * np.cos(row) + dx * np.sin(row))[inside]
        yy, xx = np.nonzero(inside)
        box = [yy.min(), xx.min(), yy.max() + 1, xx.max() + 1]
        columns.append(
            {
                "yx": (yy.mean(), xx.mean()),
                "area": float(len(yy)),
                "moments": (yy.var(), xx.var(), np.cov(yy, xx)[0, 1]),
                "bbox": box,
                "contrast": od[inside].mean(),
                "score": 1.0,
                "cut": box[0] == 0 or box[1] == 0 or box[2] == SHAPE[0] or box[3] == SHAPE[1],
            }
        )
    fields = {key: np.array([c[key] for c in columns]) for key in columns[0]}
    od += 0.3 + np.random.default_rng(seed).normal(0, 1, SHAPE) * noise
    return Detections(labels=labels, **fields), od.astype(np.float32)


def follow(linker, scenes):
    state, results = linker.init(), []
    for detections, od in scenes:
        state, result = linker.update(state, detections, od)
        results.append(result)
    return state, results


def ids(result):
    return {s.particle: s.detection for s in result.observations if s.detection >= 0}


SAME = {i: i for i in range(5)}


def test_equal_frames_keep_identities(linker):
    _, results = follow(linker, [field()] * 4)
    assert [ids(r) for r in results] == [SAME] * 4
    assert all(np.isnan(s.similarity) for s in results[0].observations)
    np.testing.assert_allclose([s.similarity for s in results[3].observations], 1, atol=1e-4)


@pytest.mark.parametrize("gain", [0.25, 4.0])
def test_contrast_that_changes_fourfold_keeps_identities_and_likeness(linker, gain):
    state, results = follow(linker, [field(), field(contrast=gain)])
    assert ids(results[1]) == SAME
    assert state.next_particle == 5
    np.testing.assert_allclose([s.similarity for s in results[1].observations], 1, atol=1e-3)


def test_noise_is_borne(linker):
    scenes = [field(contrast=0.3, noise=0.1, seed=i) for i in range(5)]  # three sigma a pixel
    state, results = follow(linker, scenes)
    assert ids(results[-1]) == SAME
    assert state.next_particle == 5


def test_detections_in_another_order_keep_identities(linker):
    _, results = follow(linker, [field(), field(rows=[1, 0, 4, 3, 2])])
    assert ids(results[1]) == {0: 1, 1: 0, 2: 4, 3: 3, 4: 2}


def test_particles_that_change_places_are_told_by_their_look(linker):
    near = CENTRES.copy()
    near[1] = near[0] + (0, 36)
    swapped = near.copy()
    swapped[[0, 1]] = near[[1, 0]]
    _, results = follow(linker, [field(near), field(near), field(swapped)])
    assert ids(results[2]) == SAME
    np.testing.assert_allclose(results[2].observations[0].yx, near[1], atol=2)


def test_particles_that_look_the_same_are_told_by_place(linker, see):
    rng = np.random.default_rng(0)
    grid = np.array([(70.0 + 32 * i, 70.0 + 32 * j) for i in range(4) for j in range(4)])
    scenes = []
    for _ in range(5):
        detections, od = see(grid + rng.normal(0, 3, 2) + rng.normal(0, 0.7, grid.shape), [12] * 16)
        scenes.append((detections, od + rng.normal(0, 0.1, od.shape).astype(np.float32)))
    _, results = follow(linker, scenes)
    assert [ids(r) for r in results] == [{i: i for i in range(16)}] * 5


def test_a_jump_of_the_field_keeps_identities(linker):
    _, results = follow(linker, [field(), field(CENTRES + (0, 40)), field(CENTRES)])
    assert [ids(r) for r in results] == [SAME] * 3
    np.testing.assert_allclose(results[1].shift, (0, 40), atol=0.5)


def test_another_particle_in_the_place_of_one_that_is_gone_is_new(linker):
    there = CENTRES.copy()
    there[1] = CENTRES[0] + (8, 8)
    shown, without = field(rows=[0, 2, 3, 4]), field(there, rows=[1, 2, 3, 4])
    strict = make_linker(LinkSettings(kind="ssim", ssim_floor=0.6))
    _, results = follow(strict, [shown, shown, without])
    assert ids(results[2]) == {1: 1, 2: 2, 3: 3, 4: 0}
    assert results[2].observations[0].state == TrackState.COASTING


def test_a_good_pair_is_not_given_up_for_two_poor_ones(linker):
    """What is left over may resemble a track; its particle is still the one that is most alike."""
    there = CENTRES.copy()
    there[1] = CENTRES[0] + (0, 38)
    _, results = follow(linker, [field(rows=[0, 2, 3, 4])] * 2 + [field(there)])
    assert ids(results[2]) == {0: 0, 1: 2, 2: 3, 3: 4, 4: 1}


def test_a_particle_that_leaves_and_returns_keeps_its_identity(linker):
    ways = [*np.linspace(0, 90, 10), *[120] * 4, *np.linspace(90, 0, 10)]
    scenes = [field(np.vstack([CENTRES[:3], [[210.0 + way, 210.0]], CENTRES[4:]])) for way in ways]
    state, results = follow(linker, scenes)
    assert state.next_particle == 5
    assert sorted(ids(results[11])) == [0, 1, 2, 4]
    assert ids(results[-1]) == SAME


def test_a_particle_that_enters_is_one_particle(linker):
    ways = np.linspace(-25, 60, 15)
    scenes = [field(np.vstack([[[way, 150.0]], CENTRES[1:]])) for way in ways]
    state, results = follow(linker, scenes)
    assert state.next_particle == 5
    assert len(ids(results[-1])) == 5


def test_the_last_roi_is_compared(linker):
    """Adjacent frames: what changes slowly stays alike, unlike the first frame."""

    def turned(angle):
        return field(contrast=1.0 + angle)

    state, _ = follow(linker, [turned(0.0), turned(1.0)])
    rois = [t.roi for t in state.tracks]
    again, _ = linker.update(state, *turned(3.0))
    for before, track in zip(rois, again.tracks, strict=True):
        np.testing.assert_allclose(track.roi, 2.0 * before, atol=1e-4)
