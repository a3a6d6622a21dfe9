"""Places of the particles of one frame: masks, templates, and what to do without either."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from operando.models.rim import RimStacks
from operando.streamer.core.link import Observation, TrackState
from operando.streamer.core.register.places import PriorKnowledge, find_places
from operando.streamer.core.register.settings import RegisterSettings
from operando.streamer.core.register.templates import add, begin, learn

RADII = [15.0, 16.0, 14.0, 17.0]
HOME = np.array([(40.0, 45.0), (38.0, 120.0), (105.0, 48.0), (108.0, 122.0)])
SHIFT = np.array([1.3, -0.7])


@pytest.fixture(scope="module")
def templates(draw):
    """What four particles look like, each seen eight times."""
    out = {}
    for particle, radius in enumerate(RADII):
        views = [
            draw([(31.5, 31.5)], [radius], noise=0.02, seed=seed, shape=(64, 64))
            for seed in range(8)
        ]
        known = add(None, begin(views[0].corrected.od, views[0].detections.labels == 1))
        for view in views[1:]:
            known = learn(known, view.corrected.od, 1.0)
        out[particle] = known
    return out


def look(frame, templates, starts, *, misses=None, unseen=(), settings=None, whole=None):
    """Places in a frame whose detections belong to the particles that are seen, in their order."""
    rows = iter(range(len(frame.detections)))
    alive = []
    for particle in range(len(starts)):
        row = -1 if particle in unseen else next(rows)
        state = TrackState.COASTING if row < 0 else TrackState.TRACKED
        yx = np.array(starts[particle], dtype=float)
        alive.append(
            Observation(particle=particle, state=state, detection=row, yx=yx, similarity=1.0)
        )
    known = PriorKnowledge(
        templates=templates,
        misses=dict.fromkeys(unseen, 1) if misses is None else misses,
        whole=frozenset(range(len(starts)) if whole is None else whole),
        last=dict(enumerate(HOME)),
    )
    stacks, settings = RimStacks(torch.device("cpu")), settings or RegisterSettings()
    found = find_places(frame.image, 0.02, frame.detections, alive, known, settings, stacks)
    return {m.particle: m for m in found}


def test_templates_tell_places_to_a_few_hundredths(draw, templates):
    centres = HOME + SHIFT
    frame = draw(centres, RADII, [0.5] * 4)
    measured = look(frame, templates, frame.detections.yx + 0.8)
    for particle, item in measured.items():
        np.testing.assert_allclose(item.yx, centres[particle], atol=0.06)
        assert item.followed
        assert item.seen
        assert np.all(item.sigma < 0.1)
        assert item.contrast == pytest.approx(0.5, rel=0.1)
        assert item.row == particle
        np.testing.assert_array_equal(item.mask_yx, frame.detections.yx[particle])


def test_without_refinement_places_are_those_of_the_masks(draw, templates):
    frame = draw(HOME + SHIFT, RADII)
    starts = frame.detections.yx + 0.8
    blind = RegisterSettings(refine=False)
    measured = look(frame, templates, starts, settings=blind)
    for particle, item in measured.items():
        np.testing.assert_array_equal(item.yx, starts[particle])
        assert not item.followed
        assert np.isnan(item.contrast)
    # one that is not known yet goes by its mask, too
    measured = look(frame, {p: templates[p] for p in (0, 1, 2)}, starts)
    assert [measured[p].followed for p in range(4)] == [True, True, True, False]


def test_a_mask_that_is_far_off_is_made_good_by_the_motion_of_the_field(draw, templates):
    centres = HOME + SHIFT
    frame = draw(centres, RADII)
    starts = frame.detections.yx.copy()
    starts[2] += [12.0, 0.0]
    measured = look(frame, templates, starts)
    np.testing.assert_allclose(measured[2].yx, centres[2], atol=0.06)
    assert measured[2].followed


def test_a_particle_that_moved_on_its_own_is_not_taken_back_to_the_field(draw, templates):
    centres = HOME + SHIFT
    centres[1] += [4.0, 3.0]
    frame = draw(centres, RADII)
    measured = look(frame, templates, frame.detections.yx)
    np.testing.assert_allclose(measured[1].yx, centres[1], atol=0.06)


def test_an_undetected_particle_is_confirmed_where_it_is_expected(draw, templates):
    centres = HOME + SHIFT
    frame = draw(centres, RADII, detected=[0, 1, 2])
    starts = [*frame.detections.yx, centres[3] + [1.5, -1.5]]
    measured = look(frame, templates, starts, unseen=(3,), misses={3: 2})
    assert [p for p, m in measured.items() if m.seen and m.row < 0] == [3]
    np.testing.assert_allclose(measured[3].yx, centres[3], atol=0.06)
    assert measured[3].followed
    assert measured[3].mask_yx is None


@pytest.mark.parametrize(("gain", "why"), [(0.0, "hidden"), (0.4, "another"), (2.5, "another")])
def test_what_has_not_its_contrast_is_not_confirmed(draw, templates, gain, why):
    centres = HOME + SHIFT
    frame = draw(centres, RADII, [1.0, 1.0, 1.0, gain], detected=[0, 1, 2])
    expected = centres[3] + [0.5, 0.5]
    starts = [*frame.detections.yx, expected]
    measured = look(frame, templates, starts, unseen=(3,), misses={3: 4})
    assert not measured[3].seen
    np.testing.assert_array_equal(measured[3].yx, expected)
    # what is expected is known the less, the longer it has not been seen
    again = look(frame, templates, starts, unseen=(3,), misses={3: 16})
    np.testing.assert_allclose(again[3].sigma, 2 * measured[3].sigma)


def test_a_cut_particle_is_followed_by_what_is_left_of_it(draw, templates):
    centres = HOME + SHIFT
    centres[0] = (7.0, 45.0)
    frame = draw(centres, RADII)
    assert list(frame.detections.cut) == [True, False, False, False]
    measured = look(frame, templates, frame.detections.yx)
    # the mask's own centre of mass is px away
    assert np.abs(frame.detections.yx[0] - centres[0]).max() > 2.5
    np.testing.assert_allclose(measured[0].yx, centres[0], atol=0.08)
    assert (measured[0].followed, measured[0].cut) == (True, False)
    assert measured[0].mask_yx is None
    # what was never seen whole has no centre of mass yet
    measured = look(frame, templates, frame.detections.yx, whole=(1, 2, 3))
    assert (measured[0].followed, measured[0].cut) == (True, True)
