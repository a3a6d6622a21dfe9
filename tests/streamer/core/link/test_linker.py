from __future__ import annotations

import numpy as np
import pytest

from operando.streamer.core.link import LINKERS, LinkSettings, TrackState, make_linker

CENTRES = np.array([[60.0, 60.0], [80.0, 200.0], [190.0, 70.0], [210.0, 210.0], [140.0, 140.0]])
RADII = np.array([12.0, 16.0, 20.0, 14.0, 10.0])


@pytest.fixture(params=sorted(LINKERS))
def linker(request):
    return make_linker(LinkSettings(kind=request.param))


def run(linker, scenes, state=None):
    state = linker.init() if state is None else state
    results = []
    for detections, od in scenes:
        state, result = linker.update(state, detections, od)
        results.append(result)
    return state, results


def ids(result, detections_of):
    """Identity of each detection row."""
    return [
        next((s.particle for s in result.observations if s.detection == row), None)
        for row in range(detections_of)
    ]


def test_identities_hold_over_jitter_and_contrast(linker, see):
    rng = np.random.default_rng(1)
    order = rng.permutation(5)
    scenes = [see(CENTRES, RADII)]
    scenes += [
        see((CENTRES + rng.normal(0, 4, 2))[order], RADII[order], contrast=c)
        for c in (0.2, 0.3, 1.0, 1.4)
    ]
    _, results = run(linker, scenes)
    assert ids(results[0], 5) == [0, 1, 2, 3, 4]
    for result in results[1:]:
        assert ids(result, 5) == list(order)
        assert all(s.state == TrackState.TRACKED for s in result.observations)


def test_a_jump_of_the_field_keeps_identities(linker, see):
    _, results = run(linker, [see(CENTRES, RADII), see(CENTRES + (35, -30), RADII)])
    assert ids(results[1], 5) == [0, 1, 2, 3, 4]
    np.testing.assert_allclose(results[1].shift, (35, -30), atol=0.5)


def test_a_hidden_particle_coasts_then_gets_its_identity_back(linker, see):
    shown, hidden = see(CENTRES, RADII), see(CENTRES[:4], RADII[:4])
    _, results = run(linker, [shown, shown, hidden, hidden, shown])
    coasting = results[3].observations[4]
    assert coasting.state == TrackState.COASTING
    assert coasting.detection == -1
    np.testing.assert_allclose(coasting.yx, CENTRES[4], atol=0.5)
    assert ids(results[4], 5) == [0, 1, 2, 3, 4]


def test_lost_is_told_once_and_the_identity_is_not_used_again(see):
    linker = make_linker(LinkSettings(coast_frames=2, lost_frames=4))
    shown, hidden = see(CENTRES, RADII), see(CENTRES[:4], RADII[:4])
    state, results = run(linker, [shown, shown, *[hidden] * 6])
    last = [[str(s.state) for s in r.observations if s.particle == 4] for r in results]
    assert last[2:] == [["coasting"], ["coasting"], ["lost"], [], ["retired"], []]
    _, results = run(linker, [shown, shown], state)
    assert ids(results[1], 5) == [0, 1, 2, 3, 5]


def test_a_weak_detection_founds_no_particle_but_continues_one(linker, see):
    weak = see(CENTRES, RADII, score=0.05)
    _, results = run(linker, [weak, see(CENTRES, RADII), weak])
    assert ids(results[0], 5) == [None] * 5
    assert ids(results[2], 5) == [0, 1, 2, 3, 4]


def test_a_further_run_of_the_sample_keeps_identities_over_a_large_move(linker, see):
    state, _ = run(linker, [see(CENTRES - 20, RADII)] * 2)
    state = linker.start_run(state)
    moved = see((CENTRES + (60, 40))[::-1], RADII[::-1])
    _, results = run(linker, [moved], state)
    assert ids(results[0], 5) == [4, 3, 2, 1, 0]


def test_an_empty_frame_makes_all_coast(linker, see):
    empty = see(np.zeros((0, 2)), [])
    state, results = run(linker, [see(CENTRES, RADII)] * 2 + [empty])
    assert [s.state for s in results[2].observations] == [TrackState.COASTING] * 5
    _, (again,) = run(linker, [see(CENTRES + 2, RADII)], state)
    assert ids(again, 5) == [0, 1, 2, 3, 4]


def test_update_leaves_the_state_alone(linker, see):
    state, _ = run(linker, [see(CENTRES, RADII)] * 2)
    first = linker.update(state, *see(CENTRES + 1, RADII))
    second = linker.update(state, *see(CENTRES + 1, RADII))
    assert [s.particle for s in first[1].observations] == [
        s.particle for s in second[1].observations
    ]
    assert state.shift.tolist() == pytest.approx([0, 0], abs=1e-9)
