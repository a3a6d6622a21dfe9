"""Whatever holds an API key is told without it."""

from __future__ import annotations

import io
import logging

import pytest

from operando.streamer.io.redact import (
    RedactingFormatter,
    RedactingStream,
    redacted,
    remember,
    report_uncaught,
)

KEY = "marked0key0marked0key"


@pytest.mark.parametrize("variable", ["TILED_API_KEY", "TILED_SINGLE_USER_API_KEY"])
def test_a_key_of_the_environment_is_hidden_wherever_it_stands(monkeypatch, variable):
    monkeypatch.setenv(variable, KEY)
    assert redacted(f"a{KEY}b {KEY}") == "a***b ***"


@pytest.mark.parametrize(
    "text",
    [
        f"GET http://host:8000/api/v1/metadata/?x=1&api_key={KEY}&y=2",
        f"'http://host:8000?api_key={KEY}'",
        f"Navigate to\n\n    http://127.0.0.1:8000?api_key={KEY}\n",
        f"{{'Authorization': 'Apikey {KEY}'}}",
        f"API_KEY={KEY}",
    ],
)
def test_what_looks_like_a_key_is_hidden_though_nobody_knows_it(monkeypatch, text):
    monkeypatch.delenv("TILED_API_KEY", raising=False)
    assert KEY not in redacted(text)
    assert "***" in redacted(text)
    assert len(redacted(text)) > len(text) - len(KEY), "and nothing else"


def test_a_remembered_key_is_hidden_and_too_short_ones_are_not():
    remember("from-the-keyring")
    remember("a")
    assert redacted("banana from-the-keyring") == "banana ***"


def test_log_lines_with_tracebacks_hold_no_key(monkeypatch):
    monkeypatch.setenv("TILED_API_KEY", KEY)
    out = io.StringIO()
    handler = logging.StreamHandler(out)
    handler.setFormatter(RedactingFormatter("%(message)s"))
    logger = logging.getLogger("operando.test_redact")
    logger.addHandler(handler)
    try:
        try:
            raise ValueError(f"refused with {KEY}")
        except ValueError:
            logger.exception("with %s", KEY)
    finally:
        logger.removeHandler(handler)
    assert KEY not in out.getvalue()
    assert "ValueError: refused with ***" in out.getvalue()


def test_streams_and_uncaught_errors_hold_no_key(monkeypatch, capsys):
    monkeypatch.setenv("TILED_API_KEY", KEY)
    out = io.StringIO()
    stream = RedactingStream(out)
    print("key", KEY, file=stream, flush=True)  # type: ignore[arg-type]
    assert out.getvalue() == "key ***\n"
    assert not stream.isatty()
    report_uncaught(ValueError, ValueError(KEY), None)
    assert capsys.readouterr().err.strip() == "ValueError: ***"
