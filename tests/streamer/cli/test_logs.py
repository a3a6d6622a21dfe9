"""Log lines for machines, and no secrets in them."""

from __future__ import annotations

import json
import logging

import pytest

from operando.streamer.cli.terminal import JsonFormatter
from operando.streamer.io.redact import RedactingFormatter, redacted

UID = "270ef592-5a37-4c89-8067-3b44c6216d8f"


def record(message, *args, exc_info=None, **extra):
    made = logging.LogRecord("operando.x", logging.WARNING, "f", 1, message, args, exc_info)
    made.__dict__.update(extra)
    return made


def test_a_record_is_one_json_object_on_one_line():
    line = JsonFormatter().format(record("two\nlines of %s", "μ"))
    assert "\n" not in line
    content = json.loads(line)
    assert content["message"] == "two\nlines of μ"
    assert (content["level"], content["logger"]) == ("warning", "operando.x")
    assert content["time"].endswith("+00:00")
    assert "run" not in content


@pytest.mark.parametrize(
    ("message", "run"),
    [
        (f"run {UID}: sample image 3: all pixels are NaN", UID),
        ("run abc_12: something", "abc_12"),
        (f"run {UID} declined: no images", UID),
        ("run ?: nothing known", ""),
        ("the run has ended: well", ""),
        ("give it another run", ""),
    ],
)
def test_the_run_is_found_in_the_message(message, run):
    assert json.loads(JsonFormatter().format(record(message))).get("run", "") == run


def test_a_given_run_wins():
    line = JsonFormatter().format(record("run a: x", run=UID))
    assert json.loads(line)["run"] == UID


def test_a_traceback_stands_in_the_same_line():
    try:
        raise ValueError("api_key=abcdef123456")
    except ValueError as error:
        line = JsonFormatter().format(record("failed", exc_info=(ValueError, error, None)))
    content = json.loads(line)
    assert "ValueError" in content["exception"]
    assert "abcdef123456" not in line


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("http://h:8000/api?api_key=c0ffee&x=1", "http://h:8000/api?api_key=***&x=1"),
        ("Authorization: Apikey 0123456789abc", "Authorization: Apikey ***"),
        ("Bearer eyJhbGciOi.J9-x_y/z=", "Bearer ***"),
        ("http://me:hunter22@host/x", "http://me:***@host/x"),
        ("{'password': 'hunter22'}", "{'password': '***'}"),
        ("secret=hunter22, next", "secret=***, next"),
        ("the key of the flat is 'flat'", "the key of the flat is 'flat'"),
        ("assemble.energy_key names its key", "assemble.energy_key names its key"),
    ],
)
def test_what_looks_like_a_secret_is_hidden(text, expected):
    assert redacted(text, {}) == expected


def test_secrets_of_the_environment_are_hidden_wherever_they_stand():
    environment = {"TILED_API_KEY": "0a1b2c3d4e", "HOME": "/home/beamline", "X_TOKEN": "abc"}
    assert redacted("GET /0a1b2c3d4e/x in /home/beamline abc", environment) == (
        "GET /***/x in /home/beamline abc"
    )


def test_lines_for_people_have_no_secrets_either(monkeypatch):
    monkeypatch.setenv("TILED_API_KEY", "0a1b2c3d4e")
    assert RedactingFormatter("%(message)s").format(record("key %s", "0a1b2c3d4e")) == "key ***"
