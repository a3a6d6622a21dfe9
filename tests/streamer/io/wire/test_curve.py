"""Keys lie where only their owner reads them, one folder per computer."""

from __future__ import annotations

import stat

import pytest
import zmq.auth

from operando.streamer.errors import ConfigError
from operando.streamer.io.wire.curve import client_curve, make_keys, server_curve


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


def test_secret_files_and_folders_are_the_owners_alone(tmp_path):
    made = make_keys(tmp_path / "keys", ["beamline"], ["near", "far"])
    assert [(m.name, m.role, m.new) for m in made] == [
        ("forwarder", "forwarder", True),
        ("beamline", "publisher", True),
        ("near", "subscriber", True),
        ("far", "subscriber", True),
    ]
    secrets = list((tmp_path / "keys").rglob("*.key_secret"))
    assert len(secrets) == 4
    assert {mode(path) for path in secrets} == {0o600}
    folders = [tmp_path / "keys", *(p for p in (tmp_path / "keys").rglob("*") if p.is_dir())]
    assert {mode(path) for path in folders} == {0o700}


def test_each_computer_has_what_it_needs_and_no_secret_of_another(tmp_path):
    make_keys(tmp_path)
    files = {
        str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*") if p.is_file()
    }  # fmt: skip
    assert files == {
        "forwarder/forwarder.key_secret",
        "forwarder/forwarder.key",
        "forwarder/publishers/publisher.key",
        "forwarder/subscribers/subscriber.key",
        "publisher/publisher.key_secret",
        "publisher/publisher.key",
        "publisher/forwarder.key",
        "subscriber/subscriber.key_secret",
        "subscriber/subscriber.key",
        "subscriber/forwarder.key",
    }
    for path in tmp_path.rglob("*.key"):
        assert b"secret" not in path.read_bytes()
        assert zmq.auth.load_certificate(path)[1] is None


def test_the_files_are_those_of_zmq_auth_and_belong_together(tmp_path):
    make_keys(tmp_path)
    publisher = client_curve(tmp_path, "publisher")
    assert publisher == client_curve(tmp_path / "publisher", "publisher")
    public, secret = zmq.auth.load_certificate(publisher.secret_path)
    assert zmq.curve_public(secret) == public
    sides = server_curve(tmp_path / "forwarder")
    assert sides == server_curve(tmp_path)
    assert zmq.auth.load_certificates(sides["publisher"].client_public_keys) == {public: True}
    own, _ = zmq.auth.load_certificate(sides["subscriber"].secret_path)
    assert zmq.auth.load_certificate(publisher.server_public_key)[0] == own


def test_making_keys_again_keeps_them_and_adds_names(tmp_path):
    make_keys(tmp_path)
    before = {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()}
    again = make_keys(tmp_path, (), ("subscriber", "second"))
    assert [m.new for m in again] == [False, False, True]
    assert {p: p.read_bytes() for p in before} == before
    allowed = server_curve(tmp_path)["subscriber"].client_public_keys
    assert len(zmq.auth.load_certificates(allowed)) == 2


@pytest.mark.parametrize(
    ("publishers", "subscribers"),
    [(["../x"], []), (["a/b"], []), ([""], []), (["a"], ["a"]), (["forwarder"], []), (["a b"], [])],
)
def test_names_that_are_no_file_names_or_twice_are_refused(tmp_path, publishers, subscribers):
    with pytest.raises(ConfigError, match="name"):
        make_keys(tmp_path / "keys", publishers, subscribers)
    assert not list(tmp_path.rglob("*.key_secret"))


def test_a_secret_that_others_can_read_is_refused(tmp_path):
    make_keys(tmp_path)
    for role, path in (("subscriber", "subscriber/subscriber"), (None, "forwarder/forwarder")):
        secret = tmp_path / f"{path}.key_secret"
        secret.chmod(0o644)
        with pytest.raises(ConfigError, match="chmod 600") as caught:
            client_curve(tmp_path, role) if role else server_curve(tmp_path)
        assert zmq.auth.load_certificate(secret)[1].decode() not in str(caught.value)


def test_missing_keys_are_told_with_the_remedy(tmp_path):
    with pytest.raises(ConfigError, match="operando keys"):
        client_curve(tmp_path, "subscriber")
    with pytest.raises(ConfigError, match="operando keys"):
        server_curve(tmp_path)
    make_keys(tmp_path)
    (tmp_path / "forwarder" / "publishers" / "publisher.key").unlink()
    with pytest.raises(ConfigError, match="nobody could be a publisher"):
        server_curve(tmp_path)
    (tmp_path / "subscriber" / "subscriber.key_secret").unlink()
    with pytest.raises(ConfigError, match="one secret key"):
        client_curve(tmp_path, "subscriber")
