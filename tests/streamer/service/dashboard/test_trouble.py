"""Troubles in words."""

from __future__ import annotations

import httpx
import pytest

from operando.streamer.service.dashboard.messages import trouble_of

URI = "http://tiled.example:8000?api_key=verysecret"


def status(code: int) -> httpx.HTTPStatusError:
    return httpx.HTTPStatusError(
        "", request=httpx.Request("GET", URI), response=httpx.Response(code)
    )


@pytest.mark.parametrize(
    ("error", "what", "remedy"),
    [
        (httpx.ConnectError("refused"), "no Tiled server answers", "Is it running"),
        (httpx.ReadTimeout("slow"), "does not answer in time", "tries again"),
        (httpx.UnsupportedProtocol("ftp"), "not the address", "--tiled"),
        (status(401), "does not let the dashboard in", "TILED_API_KEY"),
        (status(403), "does not let the dashboard in", "keyring set operando http://tiled"),
        (status(500), "status 500", "log"),
        (ValueError("odd"), "cannot be understood", "log"),
    ],
)
def test_each_trouble_has_a_remedy_and_no_key(error, what, remedy):
    trouble = trouble_of(error, URI)
    assert what in trouble.what
    assert remedy in trouble.remedy
    assert "verysecret" not in trouble.what + trouble.remedy
