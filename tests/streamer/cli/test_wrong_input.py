"""Wrong input ends with one clear line and a status, never with a traceback or a wait."""

from __future__ import annotations

import pytest

from operando.streamer.io.recording.writer import RecordingWriter
from operando.streamer.service.tiled_server import free_port


@pytest.fixture(scope="module")
def recording(small_run, tmp_path_factory):
    path = tmp_path_factory.mktemp("recording") / "run.msgpack"
    with RecordingWriter(path) as writer:
        for name, doc in small_run:
            writer(name, doc)
    return str(path)


def told(ended, status, *words):
    assert ended.status == status, ended.err
    lines = [line for line in ended.err.splitlines() if line.strip()]
    assert len(lines) == 1, ended.err
    assert lines[0].startswith("operando: ")
    for word in words:
        assert word in lines[0]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nosuch"], ["nosuch"]),
        (["replay"], ["source"]),
        (["replay", "x", "--nosuch"], ["--nosuch"]),
        (["process", "--runs", "many"], ["--runs", "integer"]),
        (["import", "/nosuch/folder", "-o", "x.msgpack"], ["/nosuch/folder"]),
    ],
)
def test_usage(run_cli, arguments, words):
    told(run_cli(*arguments), 2, *words)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["replay", "/nosuch/file"], ["/nosuch/file", "no such file"]),
        (["process", "--zmq", "nowhere"], ["host:port", "nowhere"]),
        (["record", "--zmq", "nowhere"], ["host:port", "nowhere"]),
        (["process", "--profile", "nosuch"], ["nosuch", "sim_txm"]),
        (["process", "--device", "cuda:99"], ["cuda:99", "cpu"]),
    ],
)
def test_settings(run_cli, tmp_path, monkeypatch, arguments, words):
    monkeypatch.chdir(tmp_path)
    told(run_cli(*arguments), 1, *words)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--speed", "0"], ["--speed", "'0'"]),
        (["--speed", "nan"], ["--speed", "'nan'"]),
        (["--speed", "fast"], ["--speed", "'fast'"]),
        (["--profile", "nosuch"], ["nosuch", "sim_txm"]),
        (["--zmq", "nowhere"], ["host:port"]),
        (["--zmq", "localhost:1", "-o", "x.msgpack"], ["--output", "operando process"]),
        (["--tiled", "localhost:8000"], ["http://", "localhost:8000"]),
    ],
)
def test_replay(run_cli, recording, options, words):
    told(run_cli("replay", recording, *options), 1, *words)


def test_an_output_that_exists_is_kept(run_cli, recording, tmp_path):
    output = tmp_path / "results.msgpack"
    output.write_bytes(b"mine")
    told(run_cli("replay", recording, "--speed", "max", "-o", output), 1, "exists", str(output))
    assert output.read_bytes() == b"mine"


def test_a_profile_with_a_wrong_setting_names_it(run_cli, recording, tmp_path):
    profile = tmp_path / "mine.yml"
    profile.write_text("link: {max_jump_px: far}\n")
    ended = run_cli("replay", recording, "--profile", profile)
    assert ended.status == 1
    assert "link.max_jump_px" in ended.err
    assert "'far'" in ended.err


def test_a_file_that_is_no_recording(run_cli, tmp_path):
    path = tmp_path / "notes.txt"
    path.write_text("nothing of the kind")
    told(run_cli("replay", path, "--speed", "max"), 1, "notes.txt", "no recording")


def test_a_folder_with_nothing_to_import(run_cli, tmp_path):
    (tmp_path / "notes.txt").write_text("nothing of the kind")
    ended = run_cli("import", tmp_path, "-o", tmp_path / "x.msgpack")
    assert ended.status == 1
    assert "nothing that can be imported" in ended.err
    assert not (tmp_path / "x.msgpack").exists()


def test_a_replay_into_a_server_that_is_not_there_ends_at_once(run_cli, recording):
    address = f"http://127.0.0.1:{free_port()}"
    ended = run_cli("replay", recording, "--speed", "max", "--tiled", address)
    told(ended, 1, "no Tiled server answers", address)


def test_a_replay_into_a_server_that_does_not_let_us_in(
    run_cli, recording, tiled_server, monkeypatch
):
    monkeypatch.setenv("TILED_API_KEY", "not-the-key")
    ended = run_cli("replay", recording, "--speed", "max", "--tiled", tiled_server.base_uri)
    told(ended, 1, "TILED_API_KEY", tiled_server.base_uri)
    monkeypatch.delenv("TILED_API_KEY")
    ended = run_cli("replay", recording, "--speed", "max", "--tiled", tiled_server.base_uri)
    told(ended, 1, "TILED_API_KEY", tiled_server.base_uri)


def test_a_replay_to_nobody_says_so(run_cli, recording, monkeypatch):
    monkeypatch.setattr("operando.streamer.cli.replay._LISTENER_S", 0.5)
    address = f"127.0.0.1:{free_port()}"
    ended = run_cli("replay", recording, "--speed", "max", "--zmq", address)
    assert ended.status == 1
    assert f"nobody listens at {address}" in ended.err
    assert "Traceback" not in ended.err
