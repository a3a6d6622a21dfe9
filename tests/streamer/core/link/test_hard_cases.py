"""Particles that touch, part, leave, hide, run off, or come back in another run."""

from __future__ import annotations

import numpy as np
import pytest

from operando.streamer.core.link import LinkSettings, TrackState, make_linker

SHAPE = (300, 300)
CENTRES = np.array([[60.0, 60.0], [80.0, 200.0], [190.0, 70.0], [210.0, 210.0], [140.0, 140.0]])
RADII = np.array([12.0, 16.0, 20.0, 14.0, 10.0])
LINKER = make_linker(LinkSettings())


def follow(scenes, state=None, valid=None):
    state = LINKER.init() if state is None else state
    results = []
    for detections, od in scenes:
        state, result = LINKER.update(state, detections, od, valid=valid)
        results.append(result)
    return state, results


def ids(result):
    return {s.particle: s.detection for s in result.observations if s.detection >= 0}


def merged(see, centres, radii, rows):
    """Detections in which the masks of `rows` are one."""
    detections, od = see(centres, radii)
    labels = detections.labels.copy()
    names = [row + 1 for row in rows]
    whole = np.isin(labels, names)
    keep = [i for i in range(len(radii)) if i not in rows]
    lone, _ = see(np.array(centres)[keep], np.array(radii)[keep])
    y, x = np.nonzero(whole)
    labels = np.where(whole, len(keep) + 1, lone.labels).astype(np.int32)
    last = {
        "labels": labels,
        "yx": [[y.mean(), x.mean()]],
        "area": [len(y)],
        "moments": [[y.var(), x.var(), np.cov(y, x)[0, 1]]],
        "bbox": [[y.min(), x.min(), y.max() + 1, x.max() + 1]],
        "contrast": [1.0],
        "score": [1.0],
        "cut": [False],
    }
    fields = {k: np.concatenate([getattr(lone, k), v]) for k, v in last.items() if k != "labels"}
    fields["bbox"] = fields["bbox"].astype(np.int64)
    fields["cut"] = fields["cut"].astype(bool)
    return type(lone)(labels=labels, **fields), od


def visible(see, centres, radii, shape=SHAPE):
    """Detections of discs of which some lie outside of the frame, cut flags set."""
    inside = [
        i
        for i, ((y, x), r) in enumerate(zip(centres, radii, strict=True))
        if -r + 3 < y < shape[0] + r - 4 and -r + 3 < x < shape[1] + r - 4
    ]
    centres, radii = np.array(centres)[inside], np.array(radii)[inside]
    low, high = centres - radii[:, None] - 2, centres + radii[:, None] + 2
    cut = ((low < 0) | (high > np.array(shape) - 1)).any(axis=1)
    return see(centres, radii, cut=cut, shape=shape)


# ---- touching ------------------------------------------------------------------------------


def test_one_detection_of_two_particles_is_divided_and_told(see):
    centres, radii = [*CENTRES[:3], [100.0, 222.0]], [*RADII[:3], 13.0]
    apart = [see([*CENTRES[:3], [112.0, 234.0]], radii), see([*CENTRES[:3], [108.0, 230.0]], radii)]
    close = [see([*CENTRES[:3], [104.0, 226.0]], radii)]
    one = [merged(see, centres, radii, [1, 3])]
    _, results = follow([*apart, *close, *one * 3, *close])
    for result in results[3:6]:
        found = {s.particle: s for s in result.observations}
        assert sorted(found) == [0, 1, 2, 3]
        assert [p for p, s in found.items() if s.divided] == [1, 3]
        for particle in (1, 3):
            np.testing.assert_allclose(found[particle].yx, centres[particle], atol=2.5)
        detections = result.detections
        assert len(detections) == 4
        assert detections.area[found[1].detection] == pytest.approx(np.pi * 16**2, rel=0.15)
    assert sorted(ids(results[6])) == [0, 1, 2, 3]
    assert not any(s.divided for s in results[6].observations)


def test_parts_of_one_particle_found_no_second_one(see):
    whole = see(CENTRES, RADII)
    detections, od = see(CENTRES, RADII)
    labels = detections.labels.copy()
    half = (labels == 3) & (np.arange(300)[:, None] > 192)
    labels[half] = 6
    y, x = np.nonzero(half)
    y3, x3 = np.nonzero(labels == 3)
    fields = {
        k: np.concatenate([getattr(detections, k), getattr(detections, k)[[2]]])
        for k in ("yx", "area", "moments", "bbox", "contrast", "score", "cut")
    }
    for row, (yy, xx) in ((2, (y3, x3)), (5, (y, x))):
        fields["yx"][row] = yy.mean(), xx.mean()
        fields["area"][row] = len(yy)
        fields["moments"][row] = yy.var(), xx.var(), np.cov(yy, xx)[0, 1]
        fields["bbox"][row] = yy.min(), xx.min(), yy.max() + 1, xx.max() + 1
    parts = type(detections)(labels=labels, **fields), od
    state, results = follow([*[whole] * 3, parts, parts, whole])
    assert state.next_particle == 5
    for result in results[3:5]:
        assert sorted(ids(result)) == [0, 1, 2, 3, 4]
        np.testing.assert_allclose(
            next(s.yx for s in result.observations if s.particle == 2), CENTRES[2], atol=0.2
        )
    # what stays apart were two particles all along
    _, results = follow([parts] * 8, state)
    assert sorted(ids(results[-1]).values()) == list(range(6))


# ---- leaving and hiding --------------------------------------------------------------------


def test_a_particle_that_leaves_and_returns_keeps_its_identity(see):
    away = [*np.linspace(0, 60, 9), *[60] * 5, *np.linspace(60, 0, 9)]
    scenes = [
        visible(see, [*CENTRES[:4], [270.0 + step, 140.0]], [*RADII[:4], 15.0]) for step in away
    ]
    state, results = follow(scenes)
    assert state.next_particle == 5
    assert [len(ids(r)) for r in results[10:13]] == [4] * 3
    for result in results[-6:]:
        assert sorted(ids(result)) == [0, 1, 2, 3, 4]


def test_the_centre_of_a_cut_particle_is_told_as_that_of_the_whole(see):
    scenes = [visible(see, [*CENTRES[:4], [270.0 + d, 140.0]], [*RADII[:4], 18.0]) for d in
              (0, 0, 4, 8, 12, 16, 20)]  # fmt: skip
    _, results = follow(scenes)
    for result, place in zip(results[3:], (278, 282, 286, 290), strict=True):
        (cut,) = (s for s in result.observations if s.particle == 4)
        np.testing.assert_allclose(cut.yx, (place, 140.0), atol=0.8)


def test_a_stage_excursion_keeps_identities(see):
    plan = [0, 0, 0, 60, 120, 180, 240, 400, 400, 240, 180, 120, 60, 0, 0]
    scenes = [visible(see, CENTRES - (0, shift), RADII) for shift in plan]
    state, results = follow(scenes)
    assert state.next_particle == 5
    assert ids(results[-1]) == {i: i for i in range(5)}


@pytest.mark.parametrize("hidden", [1, 5, 30])
def test_a_hidden_particle_is_back_in_the_frame_in_which_it_is_seen(see, hidden):
    shown, without = see(CENTRES, RADII), see(CENTRES[:4], RADII[:4])
    _, results = follow([shown, shown, *[without] * hidden, shown])
    assert ids(results[-1]) == {i: i for i in range(5)}
    assert {str(s.state) for s in results[-1].observations} == {"tracked"}


def test_a_tentative_particle_may_miss_a_frame(see):
    shown, without = see(CENTRES, RADII), see(CENTRES[:4], RADII[:4])
    state, results = follow([without, shown, without, shown])
    assert state.next_particle == 5
    assert [s.particle for s in results[2].observations] == [0, 1, 2, 3]


# ---- motion --------------------------------------------------------------------------------


def test_a_particle_that_runs_off_by_itself_keeps_its_identity(see):
    ways = np.cumsum([0, 0, 4, 12, 18, 20, 20, 12, 4, 0])
    scenes = [see([*CENTRES[:4], [30.0 + way, 270.0]], RADII) for way in ways]
    state, results = follow(scenes)
    assert state.next_particle == 5
    assert all(ids(r) == {i: i for i in range(5)} for r in results)


@pytest.mark.parametrize("count", [3, 40])
@pytest.mark.parametrize("jump", [(20.0, 0.0), (-35.0, 35.0), (0.0, 50.0)])
def test_a_jump_of_the_field_is_survived(see, count, jump):
    rng = np.random.default_rng(5)
    grid = np.stack(np.meshgrid(np.arange(7), np.arange(7)), -1).reshape(-1, 2)
    chosen = rng.permutation(49)[:count]
    centres = 100.0 + 50 * grid[chosen] + rng.uniform(-8, 8, (count, 2))
    radii = rng.uniform(9, 15, count)
    scenes = [see(centres + shift, radii, shape=(520, 520)) for shift in ((0, 0), (1, 0), jump)]
    _, results = follow(scenes)
    assert ids(results[2]) == {i: i for i in range(count)}
    np.testing.assert_allclose(results[2].shift, np.subtract(jump, (1, 0)), atol=0.3)


def test_one_resemblance_is_no_jump_of_the_field(see):
    shown = see(CENTRES, RADII)
    other = see([CENTRES[2] + (30, 30)], [RADII[2]])
    state, _ = follow([shown, shown, other])
    np.testing.assert_allclose(state.shift, (0, 0), atol=1e-9)


# ---- other runs ----------------------------------------------------------------------------


@pytest.mark.parametrize("shift", [(150.0, -130.0), (-60.0, 190.0), (5.0, 3.0)])
def test_another_run_is_matched_by_shape_and_constellation(see, shift):
    rng = np.random.default_rng(2)
    centres = np.array([(300.0 + 75 * (i // 4), 300.0 + 75 * (i % 4)) for i in range(12)])
    centres += rng.uniform(-15, 15, centres.shape)
    radii = rng.uniform(10, 26, 12)
    state, _ = follow([see(centres, radii, shape=(900, 900))] * 3)
    kept = [0, 1, 3, 4, 5, 7, 8, 10, 11]
    moved = centres[kept] + shift + rng.uniform(-2, 2, (9, 2))
    new = np.array([[60.0, 60.0], [840.0, 60.0]])
    scene = see([*moved, *new], [*radii[kept], 17.0, 22.0], shape=(900, 900))
    _, results = follow([scene], LINKER.start_run(state))
    assert ids(results[0]) == {**{p: i for i, p in enumerate(kept)}, 12: 9, 13: 10}


def test_another_place_of_the_sample_takes_over_no_identity(see):
    state, _ = follow([see(CENTRES, RADII)] * 3)
    elsewhere = np.array([[40.0, 150.0], [150.0, 40.0], [250.0, 120.0], [130.0, 260.0]])
    _, results = follow([see(elsewhere, [24.0, 27.0, 30.0, 33.0])], LINKER.start_run(state))
    assert sorted(ids(results[0])) == [5, 6, 7, 8]


# ---- confirmation --------------------------------------------------------------------------


def test_a_confirmed_particle_is_not_given_up(see):
    linker = make_linker(LinkSettings(coast_frames=2, lost_frames=3, confirm_limit=6))
    shown, without = see(CENTRES, RADII), see(CENTRES[:4], RADII[:4])
    state = linker.init()
    for detections, od in (shown, shown):
        state, _ = linker.update(state, detections, od)
    place = CENTRES[4] + (0.5, -0.25)
    for _ in range(6):
        state, result = linker.update(state, *without)
        assert result.observations[4].state == TrackState.COASTING
        before = state
        state = linker.confirm(state, {4: place, 0: place, 99: place})
        assert state.tracks[4].state == TrackState.TRACKED
        assert state.tracks[4].misses == 0
        np.testing.assert_allclose(state.tracks[4].yx + state.shift, place)
        # what was seen needs no confirmation
        np.testing.assert_array_equal(state.tracks[0].yx, before.tracks[0].yx)
    states = []
    for _ in range(4):  # past the limit
        state, result = linker.update(state, *without)
        state = linker.confirm(state, {4: place})
        states += [str(s.state) for s in result.observations if s.particle == 4]
    assert states == ["coasting", "coasting", "lost", "retired"]


def test_a_detection_renews_what_can_be_confirmed(see):
    linker = make_linker(LinkSettings(confirm_limit=1))
    shown, without = see(CENTRES, RADII), see(CENTRES[:4], RADII[:4])
    state = linker.init()
    for detections, od in (shown, shown, without):
        state, _ = linker.update(state, detections, od)
    state = linker.confirm(state, {4: CENTRES[4]})
    assert state.tracks[4].confirmed == 1
    state, _ = linker.update(state, *shown)
    assert state.tracks[4].confirmed == 0
