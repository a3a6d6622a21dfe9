"""The loop closed in one process: real RunEngine, devices and processor."""

from __future__ import annotations

import logging

import numpy as np
import pytest
from bluesky import plan_stubs as bps
from bluesky import plans as bp
from bluesky import preprocessors as bpp
from event_model import DocumentNames, schema_validators
from ophyd.sim import SynAxis

from operando.callbacks.feedback import FeedbackSettings, LatestResults, Recentring, StageMatrix
from operando.streamer.errors import FeedbackError
from operando.streamer.lab.simulate.plans import one_energy, txm_xanes

SETTINGS = FeedbackSettings(dead_band_px=1.0, wait_s=0.5, test_wait_s=2.0)
KNOWN = StageMatrix(px_per_unit=np.eye(2) / 0.031, error=0.1)
CROSSED = StageMatrix(px_per_unit=np.array([[0.0, 2.0], [-2.0, 0.0]]), error=0.1)
ENERGIES = tuple(np.linspace(8360.0, 8400.0, 14))


def measuring(bench, loop, energy=8400.0):
    """A run in which the matrix is measured."""

    @bpp.run_decorator(md={"sample": "s"})
    def plan():
        camera = bench.beamline.camera
        yield from bps.mv(bench.beamline.energy, energy / 1000, bench.beamline.shutter, "closed")
        yield from bps.trigger_and_read([camera, bench.beamline.energy], name="dark")
        yield from bps.mv(bench.beamline.shutter, "open")
        yield from loop.measure(lambda: one_energy(bench.beamline, energy))

    return plan()


def scan(bench, loop=None, energies=ENERGIES):
    before = None if loop is None else loop.recentre
    return txm_xanes(bench.beamline, energies, before=before, md={"sample": "s"})


def test_the_field_is_kept_where_it_was(bench):
    loop = Recentring(bench.latest, bench.axes, SETTINGS)
    bench.engine(measuring(bench, loop))
    found = loop.matrix.px_per_unit
    assert np.abs(found - bench.px_per_um).max() < 0.15 * np.abs(bench.px_per_um).max()
    assert bench.beamline.stage.yx == (0.0, 0.0)
    first = len(bench.beamline.sample.taken)
    bench.engine(scan(bench, loop))
    assert loop.refused == ""
    off = bench.off()[first:]
    assert off[0] < 4.0
    assert (off[1:] < 3.0).all()
    assert len(loop.moves.times) >= 10
    # in coordinates of the sample the creep goes on: 1.5 px per image
    creep = 1.5 * (len(bench.beamline.sample.taken) - 1)
    assert np.hypot(*loop.sample_drift) == pytest.approx(creep, abs=4.0)


def test_without_the_loop_the_field_creeps_away(bench):
    bench.engine(scan(bench))
    assert bench.off()[-1] > 15


def test_every_decision_is_an_event_of_the_raw_run_and_moves_are_told_in_the_results(bench):
    loop = Recentring(bench.latest, bench.axes, SETTINGS)
    bench.engine(measuring(bench, loop))
    bench.engine(scan(bench, loop, ENERGIES[:6]))
    records = bench.moved()
    assert [r["reason"] for r in records].count("test") >= 6
    own = [r for r in records if r["reason"] != "test"]
    assert len(own) == 6
    acted = [r for r in own if r["acted"]]
    assert len(acted) == len(loop.moves.times) >= 4
    for record in acted:
        assert np.isfinite([record["move_y"], record["move_x"], record["axis_0"]]).all()
    (descriptor, *_) = [d for n, d in bench.raw if n == "descriptor" and d["name"] == "recenter"]
    schema_validators[DocumentNames.descriptor].validate(descriptor)
    assert descriptor["data_keys"]["recenter_move_y"]["units"] == "px"
    told = [item for item in bench.advice() if item["acted"] and np.isfinite(item["move_y"])]
    np.testing.assert_allclose(
        [(item["move_y"], item["move_x"]) for item in told],
        [(r["move_y"], r["move_x"]) for r in acted],
    )
    assert not any(item["kind"] == "jump" for item in bench.advice())
    for name, doc in bench.results:
        if name == "stop":
            assert doc["ledger"]["balanced"]


def test_a_wrong_sign_stops_after_one_move(bench, caplog):
    loop = Recentring(bench.latest, bench.axes, SETTINGS, expected=-bench.px_per_um)
    with caplog.at_level(logging.ERROR):
        bench.engine(scan(bench, loop))
    assert len(loop.moves.times) == 1
    assert loop.refused == "reversed"
    assert [r["reason"] for r in bench.moved()][-1] == "reversed"
    assert "measure the matrix again" in caplog.text


def test_a_right_matrix_that_was_only_given_is_proven_by_its_first_move(bench):
    loop = Recentring(bench.latest, bench.axes, SETTINGS, expected=bench.px_per_um)
    bench.engine(scan(bench, loop))
    assert loop.refused == ""
    assert len(loop.moves.times) >= 4
    assert bench.off().max() < SETTINGS.response_px + 4
    assert (bench.off()[-5:] < 3.0).all()


def test_test_moves_notice_a_wrong_sign_and_nothing_else_is_moved(bench):
    loop = Recentring(bench.latest, bench.axes, SETTINGS, expected=-bench.px_per_um)
    with pytest.raises(FeedbackError, match="the other way"):
        bench.engine(measuring(bench, loop))
    assert loop.moves.times == ()
    assert bench.beamline.stage.yx == (0.0, 0.0)


def test_a_measured_matrix_makes_a_stopped_loop_go_on(bench):
    loop = Recentring(bench.latest, bench.axes, SETTINGS, expected=-bench.px_per_um)
    bench.engine(scan(bench, loop))
    assert loop.refused
    loop._expected = None
    bench.engine(measuring(bench, loop))
    assert loop.refused == ""
    bench.engine(scan(bench, loop))
    assert (bench.off()[-5:] < 3.0).all()


def test_it_wraps_the_steps_of_a_bluesky_scan(bench):
    loop = Recentring(bench.latest, bench.axes, SETTINGS)
    bench.engine(measuring(bench, loop))
    energy, camera = bench.beamline.energy, bench.beamline.camera

    def step_with_flat(detectors, step, pos_cache):
        yield from bps.one_nd_step(detectors, step, pos_cache)
        home = yield from bps.rd(bench.beamline.stage.x)
        yield from bps.mv(bench.beamline.stage.x, home + 500.0)
        yield from bps.trigger_and_read([camera, energy], name="flat")
        yield from bps.mv(bench.beamline.stage.x, home)

    first = len(bench.beamline.sample.taken)
    keys = [e / 1000 for e in ENERGIES[:8]]
    bench.engine(
        bp.list_scan(
            [camera], energy, keys, per_step=loop.per_step(step_with_flat), md={"sample": "s"}
        )
    )
    assert len(bench.beamline.sample.taken) == first + 8
    assert (bench.off()[first + 1 :] < 3.0).all()
    bench.engine(
        bp.list_scan([camera], energy, keys[:2], per_step=loop.per_step(), md={"sample": "s"})
    )
    assert len(bench.beamline.sample.taken) == first + 10


def test_a_matrix_is_needed(bench):
    loop = Recentring(bench.latest, bench.axes, SETTINGS)
    with pytest.raises(FeedbackError, match="measure"):
        bench.engine(scan(bench, loop))
    assert bench.beamline.stage.yx == (0.0, 0.0)


def test_measuring_without_a_processor_says_so_and_brings_the_stage_back(bench):
    loop = Recentring(LatestResults(), bench.axes, SETTINGS.model_copy(update={"test_wait_s": 0.2}))
    with pytest.raises(FeedbackError, match="does the processor run"):
        bench.engine(measuring(bench, loop))
    assert bench.beamline.stage.yx == (0.0, 0.0)


def heard(drift, time, clock_time=None):
    latest = LatestResults()
    tell(latest, drift, time)
    return latest


def tell(latest, drift, time):
    data = {
        "frame": 0, "raw_seq_num": 1, "drift_y": drift[0], "drift_x": drift[1],
        "drift_sigma": 0.1, "status": "aligned", "n_particles": 4,
    }  # fmt: skip
    latest("event", {"time": time, "data": data})


class Limited(SynAxis):
    """An axis with soft limits."""

    def check_value(self, value):
        if abs(value) > 0.05:
            raise ValueError(f"{value} is beyond the limits of {self.name}")


@pytest.mark.parametrize(
    ("drift", "age", "reason"),
    [
        ((10.0, 0.0), 1.0, "limit"),
        ((10.0, 0.0), 100.0, "stale"),
        ((0.5, 0.0), 1.0, "dead_band"),
    ],
)
def test_what_is_refused_is_recorded_and_moves_nothing(run_engine, drift, age, reason):
    axes = Limited(name="y"), Limited(name="x")
    events = []
    run_engine.subscribe(lambda n, d: events.append(d) if n == "event" else None)
    loop = Recentring(
        heard(drift, 1000.0), axes, SETTINGS, expected=KNOWN, clock=lambda: 1000.0 + age
    )
    run_engine(bpp.run_wrapper(loop.recentre()))
    assert [axis.position for axis in axes] == [0, 0]
    (event,) = events
    assert event["data"]["recenter_acted"] == 0
    assert event["data"]["recenter_reason"] == reason
    assert loop.moves.times == ()


def test_a_drift_is_taken_back_once_however_often_it_is_asked(run_engine):
    axes = SynAxis(name="y", value=0.0), SynAxis(name="x", value=0.0)
    now = [1000.0]
    latest = heard((6.0, -3.0), 999.0)
    settings = SETTINGS.model_copy(update={"wait_s": 0.0})
    loop = Recentring(latest, axes, settings, expected=CROSSED, record=False,
                      clock=lambda: now[0])  # fmt: skip
    for _ in range(3):
        run_engine(loop.recentre())
        now[0] += 1
    # image y moves with the second axis, image x against the first
    assert [axis.position for axis in axes] == pytest.approx([-1.5, -3.0])
    assert len(loop.moves.times) == 1
    # the next frame shows what is left
    tell(latest, (0.5, 0.2), now[0])
    run_engine(loop.recentre())
    assert len(loop.moves.times) == 1
    assert loop.refused == ""
    np.testing.assert_allclose(loop.sample_drift, (6.5, -2.8))


def test_two_axes_are_wanted(bench):
    with pytest.raises(FeedbackError, match="two axes"):
        Recentring(bench.latest, bench.axes[:1])
