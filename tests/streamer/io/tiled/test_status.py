"""Troubles in words."""

from __future__ import annotations

import httpx
import pytest

from operando.streamer.io.tiled.status import Reachable, status_of

URI = "http://tiled.example:8000?api_key=verysecret"


def status(code: int) -> httpx.HTTPStatusError:
    return httpx.HTTPStatusError(
        "", request=httpx.Request("GET", URI), response=httpx.Response(code)
    )


@pytest.mark.parametrize(
    ("error", "what", "remedy"),
    [
        (httpx.ConnectError("refused"), "no Tiled server answers", "Is it running"),
        (httpx.ReadTimeout("slow"), "does not answer in time", "restarting"),
        (httpx.UnsupportedProtocol("ftp"), "not the address", "--tiled"),
        (status(401), "does not let us in", "TILED_API_KEY"),
        (status(403), "does not let us in", "keyring set operando http://tiled"),
        (status(500), "status 500", "log"),
        (ValueError("odd"), "cannot be understood", "log"),
    ],
)
def test_each_trouble_has_a_remedy_and_no_key(error, what, remedy):
    trouble = status_of(error, URI)
    assert what in trouble.what
    assert remedy in trouble.remedy
    assert "verysecret" not in trouble.what + trouble.remedy


def test_a_server_is_asked_seldom(monkeypatch):
    asked, now = [], [0.0]

    def get(uri, **_):
        asked.append(uri)
        if len(asked) == 1:
            raise httpx.ConnectError("refused")
        return httpx.Response(200, request=httpx.Request("GET", uri))

    monkeypatch.setattr(httpx, "get", get)
    server = Reachable(URI, clock=lambda: now[0])
    assert "no Tiled server answers" in server.trouble()
    assert "verysecret" not in server.trouble() + str(asked)
    assert len(asked) == 1
    now[0] = 60.0
    assert server.trouble() == ""
