from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.ndimage import gaussian_filter

from operando.streamer.core.register import motion
from operando.streamer.core.register.background import BackgroundView
from operando.streamer.core.register.drift import BACKGROUND, ROBUST_MEAN
from operando.streamer.core.register.motion import FrameMeasurement, PositionMeasurement
from operando.streamer.core.register.regauge import regauge
from operando.streamer.core.register.settings import RegisterSettings

START = np.random.default_rng(3).uniform(60, 400, (6, 2))
SHAPE = (460, 460)


def advance(positions, settings, pictures=None, unseen=frozenset()):
    state, fields = motion.init(), []
    for frame, yx in enumerate(positions):
        measured = tuple(
            PositionMeasurement(
                particle=i,
                yx=p,
                sigma=np.full(2, 0.1),
                seen=(frame, i) not in unseen,
                cut=False,
            )
            for i, p in enumerate(yx)
        )
        picture = pictures[frame] if pictures else None
        now = FrameMeasurement(
            frame=frame, time=4.0 * frame, energy=None, shape=SHAPE, measured=measured,
            background=picture,
        )  # fmt: skip
        state, field = motion.update(state, now, settings)
        fields.append(field)
    return fields


def walk(frames=6):
    """Common drift with a seventh of a pixel of own motion per frame."""
    own = np.random.default_rng(4).normal(0, 0.15, (frames, 6, 2)).cumsum(axis=0)
    own -= own[0]
    common = np.cumsum(np.random.default_rng(5).normal(0, 2, (frames, 2)), axis=0)
    return START + own + (common - common[0])[:, None]


def test_a_named_particle_stands_still_and_its_absence_makes_no_step():
    at = walk()
    settings = RegisterSettings(gauge="particle", gauge_particle=2)
    fields = advance(at, settings, unseen={(3, 2)})
    for frame in (0, 1, 2, 4, 5):
        if frame:
            assert fields[frame].gauge.name == "particle"
        np.testing.assert_allclose(fields[frame].drift, at[frame, 2] - at[0, 2], atol=1e-9)
    assert (fields[3].gauge.name, fields[3].gauge.reason) == (ROBUST_MEAN, "particle_unseen")
    # in its absence the others carry the drift on, with what they had moved beyond it
    np.testing.assert_allclose(fields[3].drift, at[3, 2] - at[0, 2], atol=0.6)


def test_the_background_is_the_gauge_and_the_mean_goes_on_where_it_is_silent():
    rng = np.random.default_rng(6)
    field = gaussian_filter(rng.normal(0, 1, (500, 500)), 2.5)
    field = (field / field.std()).astype(np.float32)
    steps = np.array([[0, 0], [3, -2], [5, 4], [2, 2], [1, 6]])
    pictures = [
        BackgroundView(
            image=field[20 - y : 480 - y, 20 - x : 480 - x].copy(),
            weight=np.ones(SHAPE, np.float32),
        )
        for y, x in steps
    ]
    pictures[3] = BackgroundView(
        image=np.zeros(SHAPE, np.float32), weight=np.zeros(SHAPE, np.float32)
    )
    # all particles creep against the background, in one direction
    creep = np.arange(5)[:, None] * (0.5, 0.0)
    at = START + (steps + creep)[:, None]
    fields = advance(at, RegisterSettings(gauge="background"), pictures)
    names = [f.gauge.name for f in fields]
    assert names == [ROBUST_MEAN, BACKGROUND, BACKGROUND, ROBUST_MEAN, BACKGROUND]
    assert [f.gauge.reason for f in fields][3] == "no_background"
    drift = np.array([f.drift for f in fields])
    np.testing.assert_allclose(drift[[0, 1, 2, 4]], steps[[0, 1, 2, 4]], atol=0.05)
    np.testing.assert_allclose(drift[3], steps[3] + (0.5, 0), atol=0.4)
    # what is not drift is deformation, common as it is
    np.testing.assert_allclose(fields[4].affine.offset, (2.0, 0.0), atol=0.05)


def tables(at, fields, *, first=None, fitted=True):
    """Rows as the streams have them; particle i is there from frame first[i] on."""
    first = first or [0] * len(START)
    rows = [
        {
            "frame": f, "revision": 0, "particle": i, "area": 900.0,
            "y": at[f, i, 0], "x": at[f, i, 1], "sigma_y": 0.1, "sigma_x": 0.1,
            "displacement_y": at[f, i, 0] - at[first[i], i, 0],
            "displacement_x": at[f, i, 1] - at[first[i], i, 1],
            "residual_y": 0.5, "residual_x": -0.5,
        }
        for f in range(len(at)) for i in range(len(START)) if f >= first[i]
    ]  # fmt: skip
    frames = [
        {
            "frame": f, "revision": 0, "drift_y": field.drift[0], "drift_x": field.drift[1],
            "drift_sigma": 0.05, "rotation": 0.0 if fitted else np.nan, "gauge": "robust-mean",
            "magnification": 1.0, "magnification_sigma": np.nan,
        }
        for f, field in enumerate(fields)
    ]  # fmt: skip
    return pd.DataFrame(rows), pd.DataFrame(frames)


def test_regauge_gives_what_the_gauge_would_have_given():
    at = walk()
    mean = advance(at, RegisterSettings())
    named = advance(at, RegisterSettings(gauge="particle", gauge_particle=2))
    particles, frames = regauge(*tables(at, mean), reference=[2])
    np.testing.assert_allclose(frames[["drift_y", "drift_x"]], [f.drift for f in named], atol=1e-9)
    assert (frames["gauge"] == "particle").all()
    assert frames["drift_sigma"].to_numpy() == pytest.approx(0.1)
    still = particles[particles["particle"] == 2]
    np.testing.assert_allclose(still[["deformation_y", "deformation_x"]], 0.0, atol=1e-9)
    other = particles[(particles["particle"] == 4) & (particles["frame"] == 5)]
    expected = (at[5, 4] - at[0, 4]) - (at[5, 2] - at[0, 2])
    np.testing.assert_allclose(other[["deformation_y", "deformation_x"]].to_numpy()[0], expected)
    # an affine field has taken up the rest; where none was fitted, the residual has it
    assert (particles["residual_y"] == 0.5).all()
    loose, again = regauge(*tables(at, mean, fitted=False), reference=[2])
    change = again["drift_y"].to_numpy() - [f.drift[0] for f in mean]
    np.testing.assert_allclose(
        loose["residual_y"], 0.5 - change[loose["frame"].to_numpy()], atol=1e-9
    )


def test_regauge_to_the_mean_has_no_step_where_a_particle_begins_or_is_missed():
    at = np.array([START + 0.5 * f for f in range(6)])
    at[:, 0] += np.arange(6)[:, None] * (3.0, 0.0)  # one moves three pixels per frame more
    fields = advance(at, RegisterSettings())
    particles, frames = tables(at, fields, first=[2, 0, 0, 0, 0, 0])
    gone = (particles["frame"] == 4) & (particles["particle"] == 0)
    _, frames = regauge(particles[~gone], frames, reference=range(6))
    steps = np.diff(frames["drift_y"])
    np.testing.assert_allclose(steps, [0.5, 0.5, 1.0, 0.5, 1.5], atol=1e-9)
    assert (frames["gauge"] == "mean").all()


def test_regauge_divides_a_known_magnification_out():
    scale, axis = np.array([1.0, 0.99, 0.98]), (229.5, 229.5)
    truth = np.array([START + 1.5 * f for f in range(3)])
    at = axis + (truth - axis) * scale[:, None, None]
    fields = advance(truth, RegisterSettings())
    particles, frames = tables(at, fields)
    frames["magnification"], frames["magnification_sigma"] = scale, 0.0
    _, found = regauge(particles, frames, reference=[3], axis_yx=axis)
    np.testing.assert_allclose(found["drift_y"], [0, 1.5, 3.0], atol=1e-9)
    with pytest.raises(ValueError, match="axis_yx"):
        regauge(particles, frames, reference=[3])


def test_regauge_needs_a_particle_that_exists():
    at = walk()
    with pytest.raises(ValueError, match="no particle of"):
        regauge(*tables(at, advance(at, RegisterSettings())), reference=[17])
