"""The web server before strangers."""

from __future__ import annotations

import httpx
import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from operando.streamer.errors import ConfigError
from operando.streamer.service.dashboard.web import Dashboard

pytestmark = pytest.mark.system

FILES = ("/", "/main.js", "/style.css", "/icon.svg", "/store.js")


def test_the_page_and_its_parts_are_served_with_a_tight_policy(dashboard):
    for path in FILES:
        answer = httpx.get(dashboard + path)
        assert answer.status_code == 200, path
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "script-src 'self'" in policy
        assert "unsafe" not in policy
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["x-frame-options"] == "DENY"
        assert "server" not in answer.headers
        assert "://" not in answer.text.replace("http://www.w3.org/2000/svg", "").replace(
            "://${location.host}", ""
        ), "something from elsewhere"


@pytest.mark.parametrize(
    "path",
    [
        *("/../web.py", "/..%2fweb.py", "/%2e%2e/%2e%2e/pyproject.toml", "/static/", "/etc/passwd"),
        *("/picture/../../x/1", "/picture/a/b/c/-1", "/picture/%2e%2e/frames/aligned/0"),
        *("/picture/none/frames/aligned/0", "/api/v1/metadata/"),
    ],
)
def test_nothing_else_is_served(dashboard, path):
    with httpx.Client() as client:
        request = client.build_request("GET", dashboard)
        request.url = request.url.copy_with(raw_path=path.encode())
        answer = client.send(request)
    assert answer.status_code == 404
    assert "content-security-policy" in answer.headers


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
@pytest.mark.parametrize("path", ["/", "/picture/a/b/c/1", "/healthz"])
def test_it_takes_questions_only(dashboard, method, path):
    assert httpx.request(method, dashboard + path).status_code == 405


def test_images_of_runs_that_are_looked_at(dashboard, new_run, sink, Viewer):
    run = new_run()
    run.frame(0)
    assert sink.flush()
    path = f"{dashboard}/picture/{run.uid}/frames/aligned/"
    with Viewer(dashboard) as viewer:
        viewer.until(lambda: viewer.count("frames") == 1 and viewer.shows(run))
        answer = httpx.get(path + "0")
        assert answer.status_code == 200
        assert (answer.headers["x-height"], answer.headers["x-width"]) == ("60", "80")
        assert len(answer.content) == 60 * 80
        assert float(answer.headers["x-high"]) == pytest.approx(0.99, abs=0.01)
        for wrong in (path + "1", path.replace("aligned", "rows") + "0", path + "x"):
            assert httpx.get(wrong).status_code == 404, wrong


def test_the_key_stays_inside(dashboard, tiled_server, new_run, sink, logs, Viewer):
    run = new_run()
    run.frame(0)
    assert sink.flush()
    with Viewer(dashboard) as viewer:
        viewer.until(lambda: viewer.count("frames") == 1 and viewer.shows(run))
        told = str(viewer.told)
    answers = [httpx.get(dashboard + path) for path in (*FILES, "/healthz", "/none")]
    told += "".join(answer.text + str(answer.headers) for answer in answers)
    assert tiled_server.api_key not in told
    assert tiled_server.api_key not in (logs / "dashboard.log").read_text()


def test_other_names_and_other_pages_are_refused(dashboard):
    # a page elsewhere, whose name leads to this machine, must not read what is here
    assert httpx.get(dashboard, headers={"Host": "evil.example"}).status_code == 400
    socket = dashboard.replace("http", "ws") + "/live"
    with pytest.raises(InvalidStatus) as refused:
        connect(socket, origin="http://evil.example")
    assert refused.value.response.status_code == 403
    with connect(socket, origin=dashboard) as accepted:
        accepted.send('{"run": ""}')
        assert accepted.recv(timeout=20)


@pytest.mark.parametrize(
    "sent", ["nonsense", "[1]", '{"run": 3}', '{"run": "' + "x" * 300 + '"}', "x" * 5000, "null"]
)
def test_what_is_no_question_ends_the_connection_and_nothing_else(dashboard, sent, Viewer):
    with connect(dashboard.replace("http", "ws") + "/live") as socket:
        socket.send(sent)
        with pytest.raises(ConnectionClosed):
            _read_to_the_end(socket)
    with Viewer(dashboard) as viewer:
        viewer.until(lambda: viewer.last("status"))


def _read_to_the_end(socket):
    while True:
        socket.recv(timeout=20)


def test_other_machines_are_let_in_only_when_asked_for():
    with pytest.raises(ConfigError, match="without any password"):
        Dashboard("http://127.0.0.1:1", "0.0.0.0", 0, public=False)


def test_a_port_in_use_is_told(dashboard):
    port = int(dashboard.rpartition(":")[2])
    with pytest.raises(ConfigError, match="is it in use"):
        Dashboard("http://127.0.0.1:1", "127.0.0.1", port, public=False)
