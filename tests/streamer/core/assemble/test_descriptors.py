"""Which keys hold the image, the energy and the exposure."""

from __future__ import annotations

import numpy as np
import pytest

NUMBER = {"source": "SIM:x", "dtype": "number", "shape": []}
IMAGE = np.zeros((16, 20))


def one(feed, run, data_keys, **data):
    stream = run.stream("primary", data_keys)
    stream.event(cam=IMAGE, **data)
    return feed.refs[-1]


@pytest.mark.parametrize(
    ("name", "units", "value", "expected"),
    [
        ("XEng", "keV", 8.333, 8333.0),
        ("energy", "eV", 8333.0, 8333.0),
        ("dcm_energy", "KEV", 8.333, 8333.0),
        ("pgm_energy", "ev", 776.0, 776.0),
        ("beamline_mono", None, 8.333, 8333.0),
        ("energy", None, 8333.0, 8333.0),
        ("dcm_bragg_hv", "eV", 8333.0, 8333.0),
        ("energy_readback", "keV", 8.333, 8333.0),
        ("energy_kev", None, 8.333, 8333.0),
        ("energy_ev", None, 776.0, 776.0),
        ("energy", "keV", np.array([8.333]), 8333.0),
        ("energy", "keV", np.float32(8.0), 8000.0),
    ],
)
def test_energy_in_the_events(feed, new_run, keys, name, units, value, expected):
    spec = NUMBER if units is None else {**NUMBER, "units": units}
    ref = one(feed, new_run(feed), {"cam": keys.image, name: spec}, **{name: value})
    assert ref.energy == pytest.approx(expected)


@pytest.mark.parametrize("name", ["mono", "energy", "sample_energy"])
def test_a_key_in_other_units_is_no_energy(feed, new_run, keys, name):
    ref = one(
        feed, new_run(feed), {"cam": keys.image, name: {**NUMBER, "units": "deg"}}, **{name: 12.0}
    )
    assert ref.energy is None
    assert len(feed.notices("energy")) == 1


def test_readback_goes_before_setpoint_and_units_before_names(feed, new_run, keys):
    ev = {**NUMBER, "units": "eV"}
    ref = one(
        feed,
        new_run(feed),
        {"cam": keys.image, "energy_setpoint": ev, "energy": ev, "mono": NUMBER},
        energy_setpoint=1.0,
        energy=8333.0,
        mono=11.0,
    )
    assert ref.energy == 8333.0
    assert not feed.notices("energy_key")


def test_two_equally_good_energies_are_said_and_the_choice_does_not_depend_on_order(
    new_feed, new_run, keys
):
    ev = {**NUMBER, "units": "eV"}
    pair = {"a_energy": ev, "b_energy": ev}
    for data_keys in (pair, dict(reversed(pair.items()))):
        feed = new_feed()
        ref = one(feed, new_run(feed), {"cam": keys.image, **data_keys}, a_energy=1.0, b_energy=2.0)
        assert ref.energy == 1.0
        assert len(feed.notices("energy_key")) == 1
    feed = new_feed()
    run = new_run(feed, motors=["b_energy"])
    assert one(feed, run, {"cam": keys.image, **pair}, a_energy=1.0, b_energy=2.0).energy == 2.0
    feed = new_feed(energy_key="b_energy")
    ref = one(feed, new_run(feed), {"cam": keys.image, **pair}, a_energy=1.0, b_energy=2.0)
    assert ref.energy == 2.0
    assert not feed.notices("energy_key")


def test_energy_of_the_configuration_the_start_and_the_baseline(new_feed, new_run, keys):
    configured = {
        "mono": {
            "data": {"mono_energy": 8.5},
            "timestamps": {"mono_energy": 0.0},
            "data_keys": {"mono_energy": {**NUMBER, "units": "keV"}},
        }
    }
    feed = new_feed()
    run = new_run(feed, energy=1.0)
    run.stream("primary", {"cam": keys.image}, configuration=configured).event(cam=IMAGE)
    assert feed.refs[0].energy == 8500.0

    feed = new_feed()
    assert one(feed, new_run(feed, energy=8400.0), {"cam": keys.image}).energy == 8400.0

    feed = new_feed()
    run = new_run(feed)
    baseline = run.stream("baseline", {"XEng": {**NUMBER, "units": "keV"}})
    baseline.event(XEng=8.6)
    assert one(feed, run, {"cam": keys.image}).energy == 8600.0


def test_energies_listed_in_the_start_go_by_event(feed, new_run, keys):
    run = new_run(feed, eng_list=[8.3, 8.4])
    stream = run.stream("primary", {"cam": keys.image})
    for _ in range(3):
        stream.event(cam=IMAGE)
    assert [r.energy for r in feed.refs] == [8300, 8400, None]
    assert len(feed.notices("energy")) == 1


def test_the_unit_setting_wins(new_feed, new_run, keys):
    feed = new_feed(energy_unit="eV")
    assert one(feed, new_run(feed), {"cam": keys.image, "energy": NUMBER}, energy=776.0).energy == (
        776.0
    )
    assert not feed.notices("energy_unit")


@pytest.mark.parametrize("value", [np.nan, np.inf, -8.3, 0, "8.3", None, [1.0, 2.0], True])
def test_an_energy_that_is_none_gives_a_notice_not_a_number(feed, new_run, keys, value):
    spec = {**NUMBER, "units": "keV"}
    ref = one(feed, new_run(feed), {"cam": keys.image, "energy": spec}, energy=value)
    assert ref.energy is None
    assert len(feed.notices("energy")) == 1


def test_the_exposure_is_that_of_the_camera(new_feed, new_run, keys):
    def device(name, value, **spec):
        return {
            "data": {name: value},
            "timestamps": {name: 0.0},
            "data_keys": {name: {**NUMBER, **spec}},
        }

    both = {"a": device("a_cam_acquire_time", 9.0), "cam": device("cam_cam_acquire_time", 0.05)}
    feed = new_feed()
    run = new_run(feed, exposure_time=7.0)
    run.stream("primary", {"cam": keys.image}, configuration=both).event(cam=IMAGE)
    assert feed.refs[0].exposure == 0.05

    feed = new_feed()
    run = new_run(feed)
    ms = {"cam": device("cam_exposure_time", 50.0, units="ms")}
    run.stream("primary", {"cam": keys.image}, configuration=ms).event(cam=IMAGE)
    assert feed.refs[0].exposure == pytest.approx(0.05)

    feed = new_feed(exposure_key="dwell")
    ref = one(feed, new_run(feed), {"cam": keys.image, "dwell": NUMBER}, dwell=0.5)
    assert ref.exposure == 0.5


def test_of_several_images_the_hinted_then_the_largest_is_taken(new_feed, new_run, keys):
    small, large = keys.image, {**keys.image, "shape": [64, 64]}
    for hints, expected in (({}, "b"), ({"a": {"fields": ["a"]}}, "a")):
        feed = new_feed()
        run = new_run(feed)
        stream = run.stream("primary", {"a": small, "b": large}, hints=hints)
        stream.event(a=IMAGE, b=np.zeros((64, 64)))
        assert [r.key.data_key for r in feed.refs] == [expected]
        assert len(feed.notices("image_key")) == 1
    feed = new_feed(image_key="a")
    new_run(feed).stream("primary", {"a": small, "b": large}).event(a=IMAGE, b=IMAGE)
    assert [r.key.data_key for r in feed.refs] == ["a"]
    assert not feed.notices("image_key")


def test_a_settings_key_that_no_stream_has_declines_the_run_and_names_it(new_feed, new_run, keys):
    feed = new_feed(image_key="zyla_image")
    run = new_run(feed)
    run.stream("primary", {"cam": keys.image}).event(cam=IMAGE)
    run.stop()
    assert "zyla_image" in feed.out[-2].reason


@pytest.mark.parametrize(
    ("shape", "declared"),
    [
        ([16, 20], (16, 20)),
        ([5, 16, 20], (16, 20)),
        ([1, 5, 16, 20], (16, 20)),
        ([16, 20, 1], (16, 20)),
        ([0, 16, 20], (16, 20)),
    ],
)
def test_declared_shapes(feed, new_run, keys, shape, declared):
    ref = one(feed, new_run(feed), {"cam": {**keys.image, "shape": shape}})
    assert ref.declared == declared
