"""Alarms are in the log, moves are not."""

from __future__ import annotations

import logging

from operando.callbacks.stock import log_advice


def test_levels_of_the_log_are_those_of_the_advice(caplog):
    with caplog.at_level(logging.DEBUG):
        for severity in ("info", "warning", "alarm"):
            log_advice("event", {"data": {"severity": severity, "frame": 3, "message": severity}})
        log_advice("event", {"data": {"drift_y": 1.0}})
        log_advice("stop", {"uid": "u"})
    told = [(record.levelno, record.getMessage()) for record in caplog.records]
    assert told == [(logging.INFO, "frame 3: warning"), (logging.WARNING, "frame 3: alarm")]
