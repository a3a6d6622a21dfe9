"""Fits and masks of a scan: how much each counts, and what must not count."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from operando.streamer.core.pipeline.scan_places import ScanTrack, blend

FRAMES = 60
RESPONSE = 0.2  # px
BELOW = np.arange(FRAMES) < 25


def faintness():
    """1 / contrast - 1 over an edge: a quarter of the contrast below it, three frames between."""
    contrast = np.interp(np.arange(FRAMES), [24, 28], [0.25, 1.0])
    return 1 / contrast - 1


def make(fit_error, mask_error, *, faint=None, seed=0, scatter=0.0):
    """A track whose errors per faintness are these vectors, and the true places.

    The mask's centre lies (0.4, -0.3) px beside the template's.
    """
    rng = np.random.default_rng(seed)
    faint = faintness() if faint is None else faint
    true = 100 + np.cumsum(rng.normal(0, 1.5, (FRAMES, 2)), axis=0)
    track = ScanTrack(
        fitted=true + faint[:, None] * fit_error,
        noise=np.full((FRAMES, 2), 0.02),
        mask=true + [0.4, -0.3] + faint[:, None] * mask_error + rng.normal(0, scatter, true.shape),
        faintness=faint,
        gain_gradient=np.zeros(FRAMES),
        response=np.full(2, RESPONSE),
    )
    return track, true


def field(n, masks, *, scatter=0.0, seed=0):
    """Independent errors: those of fits half of the response, those of masks `masks` times that."""
    rng = np.random.default_rng(seed)
    errors = rng.normal(0, 0.5 * RESPONSE, (n, 2, 2)) * [[[1.0], [masks]]]
    made = [make(f, m, seed=i, scatter=scatter) for i, (f, m) in enumerate(errors)]
    return [track for track, _ in made], [true for _, true in made]


def shares(tracks, blended):
    """How far each blended place is from the fit to the mask, where the particle is faint."""
    out = []
    for track, both in zip(tracks, blended, strict=True):
        way = track.mask - track.fitted - both.centre
        out.append(((both.yx - track.fitted) * way)[BELOW].sum() / (way**2)[BELOW].sum())
    return np.array(out)


def steps(places, truths):
    """Error below less that above, (P, 2) px."""
    return np.array(
        [
            (p - t)[BELOW].mean(axis=0) - (p - t)[~BELOW].mean(axis=0)
            for p, t in zip(places, truths, strict=True)
        ]
    )


def rms(values):
    return float(np.sqrt(np.mean(np.square(values))))


def test_masks_as_good_as_fits_count_half_and_the_step_shrinks_by_the_root_of_two():
    tracks, truths = field(400, masks=1.0)
    blended = blend(tracks)
    assert np.median(shares(tracks, blended)) == pytest.approx(0.5, abs=0.03)
    before = steps([t.fitted for t in tracks], truths)
    after = steps([b.yx for b in blended], truths)
    assert rms(before) == pytest.approx(0.5 * RESPONSE * 3, rel=0.2)
    middle = [np.median(np.hypot(*step.T)) for step in (before, after)]
    assert middle[1] / middle[0] == pytest.approx(np.sqrt(0.5), abs=0.1)
    # masks that happen to be far off count less, which keeps some large steps
    assert rms(after) < 0.9 * rms(before)


def test_masks_that_are_far_worse_hardly_count():
    tracks, truths = field(30, masks=12.0)
    blended = blend(tracks)
    assert np.abs(shares(tracks, blended)).max() < 0.04
    before = rms(steps([t.fitted for t in tracks], truths))
    assert rms(steps([b.yx for b in blended], truths)) < 1.1 * before


def test_one_mask_that_is_far_worse_than_the_others_does_not_count():
    tracks, _ = field(20, masks=1.0)
    bad, _ = make(np.zeros(2), np.array([20 * RESPONSE, 0.0]))
    found = shares([*tracks, bad], blend([*tracks, bad]))
    assert np.median(found[:-1]) > 0.3
    assert found[-1] < 0.05


def test_what_is_left_to_fear_grows_with_faintness_and_shrinks_with_masks():
    tracks, truths = field(40, masks=1.0)
    blended = blend(tracks)
    alone = blend([replace(t, mask=np.full_like(t.mask, np.nan)) for t in tracks])
    for both, fit in zip(blended, alone, strict=True):
        assert np.all(both.sigma[~BELOW][4:] < 0.2 * both.sigma[BELOW].min())
        assert np.all(both.sigma <= fit.sigma)
    error = rms(steps([b.yx for b in blended], truths))
    told = rms([b.sigma[BELOW] for b in blended])
    assert 0.4 * told < error < 1.6 * told


def test_without_a_change_of_contrast_fits_stay_as_they_are():
    flat = 1 / np.linspace(0.95, 1.05, FRAMES) - 1
    made = [make(np.array([0.3, 0.1]), np.zeros(2), faint=flat, seed=s)[0] for s in range(4)]
    for track, both in zip(made, blend(made), strict=True):
        np.testing.assert_array_equal(both.yx, track.fitted)
        # but where the centre of mass is, masks tell
        np.testing.assert_allclose(both.centre, [0.4, -0.3], atol=0.03)


@pytest.mark.parametrize("missing", ["mask", "response"])
def test_without_masks_or_any_idea_of_the_background_fits_stay_as_they_are(missing):
    tracks, _ = field(5, masks=1.0)
    tracks = [replace(t, **{missing: np.full_like(getattr(t, missing), np.nan)}) for t in tracks]
    for track, both in zip(tracks, blend(tracks), strict=True):
        np.testing.assert_array_equal(both.yx, track.fitted)
        assert np.isfinite(both.sigma).all()
        assert np.isfinite(both.centre).all()


def test_chemistry_that_moves_masks_at_mid_contrast_moves_nothing():
    tracks, _ = field(20, masks=1.0, scatter=0.05)
    moved = []
    for track in tracks:
        mask = track.mask.copy()
        mask[25:34] += [1.5, -1.0]  # oxidation runs through while the edge is scanned
        moved.append(replace(track, mask=mask))
    for before, after in zip(blend(tracks), blend(moved), strict=True):
        change = np.abs(after.yx - before.yx)
        assert change.max() < 0.15
        assert np.delete(change, np.arange(25, 34), axis=0).max() < 0.1


def test_a_wild_mask_moves_its_frame_little_and_no_other():
    tracks, _ = field(20, masks=1.0, scatter=0.05)
    mask = tracks[0].mask.copy()
    mask[10] += 8.0
    before, after = blend(tracks)[0], blend([replace(tracks[0], mask=mask), *tracks[1:]])[0]
    change = np.abs(after.yx - before.yx)
    assert change[10].max() < 0.25
    assert np.delete(change, 10, axis=0).max() < 0.03


def test_frames_without_a_fit_or_a_mask_are_no_obstacle():
    tracks, truths = field(20, masks=1.0)
    gappy = []
    for track in tracks:
        fitted, mask, faint = track.fitted.copy(), track.mask.copy(), track.faintness.copy()
        fitted[5:9] = faint[5:9] = np.nan
        mask[15:20] = np.nan
        gappy.append(replace(track, fitted=fitted, mask=mask, faintness=faint))
    for whole, both in zip(blend(tracks), blend(gappy), strict=True):
        assert np.isnan(both.yx[5:9]).all()
        seen = np.delete(np.arange(FRAMES), np.arange(5, 9))
        np.testing.assert_allclose(both.yx[seen], whole.yx[seen], atol=0.02)
    assert len(truths) == 20
