"""API keys come from the environment or the keyring, and from nowhere that others can look at."""

from __future__ import annotations

import keyring
import pytest
from keyring.backend import KeyringBackend
from keyring.errors import KeyringLocked

from operando.streamer.errors import ConfigError
from operando.streamer.io.redact import redacted
from operando.streamer.io.tiled.connection import TiledConnection
from operando.streamer.io.tiled.key import key_user, refuse_key_in, stored_key
from operando.streamer.io.tiled.status import tiled_trouble

URI = "http://Host:8000/api/v1/"


class MemoryKeyring(KeyringBackend):
    """A keyring in memory."""

    priority = 1

    def __init__(self):
        super().__init__()
        self.kept = {}
        self.locked = False

    def get_password(self, service, username):
        if self.locked:
            raise KeyringLocked("locked")
        return self.kept.get((service, username))

    def set_password(self, service, username, password):
        self.kept[service, username] = password


@pytest.fixture
def ring(monkeypatch):
    monkeypatch.delenv("TILED_API_KEY", raising=False)
    before = keyring.get_keyring()
    keyring.set_keyring(MemoryKeyring())
    yield keyring.get_keyring()
    keyring.set_keyring(before)


def test_the_keyring_knows_a_key_by_the_address_of_the_server(ring):
    assert key_user("https://user:pw@Host:1/api/v1/metadata/x?y=1") == "https://host:1"
    assert stored_key(URI) is None
    keyring.set_password("operando", "http://host:8000", "kept-in-the-ring")
    assert stored_key(URI) == "kept-in-the-ring"
    assert stored_key("http://host:8001") is None
    assert redacted("kept-in-the-ring") == "***"


def test_environment_and_address_win(ring, monkeypatch):
    keyring.set_password("operando", key_user(URI), "kept-in-the-ring")
    assert stored_key(f"{URI}?api_key=mine") is None
    monkeypatch.setenv("TILED_API_KEY", "mine")
    assert stored_key(URI) is None


def test_a_locked_keyring_is_no_key(ring):
    ring.locked = True
    assert stored_key(URI) is None


@pytest.mark.system
def test_a_real_server_lets_us_in_with_the_key_of_the_keyring(ring, tiled_server):
    assert "keyring set operando" in tiled_trouble(tiled_server.base_uri)
    keyring.set_password("operando", key_user(tiled_server.base_uri), tiled_server.api_key)
    assert tiled_trouble(tiled_server.base_uri) == ""
    root = TiledConnection(tiled_server.base_uri).root()
    assert root.context.api_key == tiled_server.api_key
    root.context.close()


def test_an_address_with_a_key_is_refused_without_repeating_it():
    refuse_key_in(URI)
    refuse_key_in("a/file?api_key=1")
    with pytest.raises(ConfigError, match="TILED_API_KEY") as caught:
        refuse_key_in(f"{URI}?api_key=hunter22")
    assert "hunter22" not in str(caught.value)


def test_commands_refuse_it_on_the_command_line(run_cli_quick):
    for arguments in (
        ("process", "--tiled", f"{URI}?api_key=hunter22"),
        ("replay", f"{URI}?api_key=hunter22"),
    ):
        status, text = run_cli_quick(*arguments)
        assert status == 1
        assert "list of processes" in text
        assert "hunter22" not in text


@pytest.fixture
def run_cli_quick():
    """Run a command as a process of its own."""
    import subprocess
    import sys

    def run(*arguments):
        ended = subprocess.run(
            [sys.executable, "-m", "operando.streamer.cli", *arguments],
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        return ended.returncode, ended.stdout + ended.stderr

    return run
