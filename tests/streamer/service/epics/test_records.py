"""What the records tell, without any network."""

from __future__ import annotations

from dataclasses import replace

import pytest

from operando.streamer.core.view import AdviceView, FrameNow, Phase, init
from operando.streamer.service.epics.ioc import loopback_by_default
from operando.streamer.service.epics.records import HOLD, Moment, PvSeverity, records

BY_NAME = {record.name: record for record in records()}


def told(name, view, **options):
    record = BY_NAME[name]
    moment = Moment(view, 1000.0, **options)
    value = record.read(moment)
    return value, record.alarm(moment, value)


def test_names_are_unique_and_explained():
    assert len(BY_NAME) == len(records())
    assert HOLD not in BY_NAME
    assert all(record.about for record in records())
    assert all(record.precision for record in records() if record.kind == "number")


def test_what_is_not_known_is_invalid():
    assert told("DRIFT:Y", init())[1] is PvSeverity.INVALID
    assert told("STATUS", init()) == ("", PvSeverity.NO_ALARM)
    assert told("ADVICE:MOVE:Y", init()) == (0.0, PvSeverity.NO_ALARM)


@pytest.mark.parametrize(
    ("status", "severity"),
    [
        ("aligned", PvSeverity.NO_ALARM),
        ("degraded", PvSeverity.MINOR),
        ("skipped", PvSeverity.MAJOR),
    ],
)
def test_severity_of_a_status(status, severity):
    view = replace(init(), frame=FrameNow(number=3, status=status, reason="blurred"))
    assert told("STATUS", view) == (status, severity)
    assert told("REASON", view) == ("blurred", severity)


@pytest.mark.parametrize(
    ("latency", "severity"),
    [(0.2, PvSeverity.NO_ALARM), (6.0, PvSeverity.MINOR), (60.0, PvSeverity.MAJOR)],
)
def test_severity_of_a_latency(latency, severity):
    view = replace(init(), frame=FrameNow(latency=latency))
    assert told("LATENCY", view) == (latency, severity)


@pytest.mark.parametrize(
    ("urgency", "severity"),
    [
        ("info", PvSeverity.NO_ALARM),
        ("warning", PvSeverity.MINOR),
        ("alarm", PvSeverity.MAJOR),
    ],
)
def test_severity_of_an_advice(urgency, severity):
    advice = AdviceView(kind="beam_loss", severity=urgency, message="no light", move=(3.0, 4.0))
    view = replace(init(), advices=(advice,), n_advices=1, alerts={("beam_loss", -1): advice})
    assert told("ALERT", view) == (urgency, severity)
    assert told("ALERT:COUNT", view) == (1, PvSeverity.NO_ALARM)
    assert told("ADVICE:MESSAGE", view) == ("no light", severity)
    assert told("ADVICE:SEVERITY", view) == (urgency, severity)
    assert told("ADVICE:MOVE:X", view) == (4.0, PvSeverity.NO_ALARM)


def test_what_is_over_is_no_alarm():
    advice = AdviceView(kind="beam", severity="alarm", message="light again", active=False)
    view = replace(init(), advices=(advice,), n_advices=1)
    assert told("ADVICE:SEVERITY", view) == ("alarm", PvSeverity.NO_ALARM)
    assert told("ALERT", view) == ("none", PvSeverity.NO_ALARM)


def test_lost_frames_are_alarms():
    books = {"received": 9, "aligned": 4, "degraded": 0, "skipped": 2, "dropped": 3}
    view = replace(init(), books=books)
    assert told("LEDGER:SKIPPED", view) == (2, PvSeverity.MINOR)
    assert told("LEDGER:DROPPED", view) == (3, PvSeverity.MAJOR)
    assert told("LEDGER:ALIGNED", view) == (4, PvSeverity.NO_ALARM)


def test_a_run_that_failed_is_an_alarm():
    view = replace(init(), phase=Phase.ENDED, exit_status="fail")
    assert told("PHASE", view) == ("ended", PvSeverity.MAJOR)


def test_a_heart_that_stands_still_is_invalid():
    assert told("HEARTBEAT", init(), beats=5) == (5, PvSeverity.NO_ALARM)
    assert told("HEARTBEAT", init(), beats=5, alive=False) == (5, PvSeverity.INVALID)


def test_servers_are_for_this_computer_unless_interfaces_are_named():
    environment = {}
    assert loopback_by_default(environment) == "127.0.0.1"
    assert environment == {
        "EPICS_CAS_INTF_ADDR_LIST": "127.0.0.1",
        "EPICS_CAS_BEACON_ADDR_LIST": "127.0.0.1",
        "EPICS_CAS_AUTO_BEACON_ADDR_LIST": "NO",
    }
    named = {"EPICS_CAS_INTF_ADDR_LIST": "10.0.0.7"}
    assert loopback_by_default(named) == "10.0.0.7"
    assert named == {"EPICS_CAS_INTF_ADDR_LIST": "10.0.0.7"}
