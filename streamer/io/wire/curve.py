"""CURVE keys in folders: who may publish, who may listen, and what lies on which computer.

``make_keys(DIR)`` makes one folder per computer, each with all that this computer needs::

    DIR/publisher/   publisher.key_secret   forwarder.key
    DIR/forwarder/   forwarder.key_secret   publishers/*.key   subscribers/*.key
    DIR/subscriber/  subscriber.key_secret  forwarder.key

The files are those of ``zmq.auth``, so bluesky's ``ServerCurve`` and ``ClientCurve`` read them too.
A secret file is never written where others could read it, not even for a moment, and not read
from where they can.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import zmq.auth
from pydantic import BaseModel, ConfigDict, Field

from ...errors import ConfigError

FORWARDER = "forwarder"
ALLOWED = {"publisher": "publishers", "subscriber": "subscribers"}
"""Folders of the public keys that the forwarder lets in, by what their owners do."""
Role = Literal["publisher", "subscriber"]
_PAIR_SUFFIX = ".key_secret"
_PUBLIC_SUFFIX = ".key"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")


@dataclass(frozen=True, slots=True)
class KeyFolder:
    """The folder of one computer.

    Attributes
    ----------
    name : whose keys lie there. role : what it does. path : the folder.
    new : whether its keys were made just now.
    """

    name: str
    role: str
    path: Path
    new: bool


def make_keys(
    folder: Path,
    publishers: Iterable[str] = ("publisher",),
    subscribers: Iterable[str] = ("subscriber",),
) -> list[KeyFolder]:
    """Make key pairs for a forwarder, publishers and subscribers; keys that exist are kept.

    Parameters
    ----------
    folder : is created, with mode 0700; secret files get 0600.
    publishers, subscribers : names, each a file name without a slash.

    Returns
    -------
    One entry per computer, the forwarder's first.

    Raises
    ------
    ConfigError
        A name cannot be used or stands for two roles, this 0MQ knows no CURVE, or the folder cannot
        be written.
    """
    roles = _roles(list(publishers), list(subscribers))
    if not zmq.has("curve"):
        raise ConfigError("this build of 0MQ knows no CURVE: install pyzmq from a wheel")
    try:
        _private(folder)
        made = [_pair(folder, FORWARDER, FORWARDER)]
        for group in ALLOWED.values():
            _private(made[0].path / group)
        for name, role in roles.items():
            made.append(_pair(folder, name, role))
            _introduce(made[0].path, made[-1])
    except OSError as error:
        raise ConfigError(f"the keys cannot be written to {folder}: {error}") from error
    return made


def client_curve(folder: Path, role: Role) -> CurveSettings:
    """Return the keys of a publisher or subscriber out of its folder, or the one above it.

    Raises
    ------
    ConfigError
        No such keys lie there, or others than the owner can read the secret one.
    """
    home = _home(folder, role, FORWARDER + _PUBLIC_SUFFIX)
    own = [path for path in sorted(home.glob("*" + _PAIR_SUFFIX)) if path.stem != FORWARDER]
    if len(own) != 1:
        raise ConfigError(
            f"{home} should hold one secret key of a {role}, got {len(own)}; "
            "operando keys makes such folders, one per computer"
        )
    _check_private(own[0])
    return CurveSettings(secret_path=own[0], server_public_key=home / (FORWARDER + _PUBLIC_SUFFIX))


def server_curve(folder: Path) -> dict[Role, CurveServerSettings]:
    """Return the keys of the forwarder and whom it lets in, by role.

    Raises
    ------
    ConfigError
        As `client_curve`; also where nobody is let in.
    """
    home = _home(folder, FORWARDER, FORWARDER + _PAIR_SUFFIX)
    secret = home / (FORWARDER + _PAIR_SUFFIX)
    _check_private(secret)
    found: dict[Role, CurveServerSettings] = {}
    for role in ("publisher", "subscriber"):
        group = home / ALLOWED[role]
        if not any(group.glob("*" + _PUBLIC_SUFFIX)):
            raise ConfigError(f"{group} holds no public key, so nobody could be a {role}")
        found[role] = CurveServerSettings(secret_path=secret, client_public_keys=group)
    return found


def _roles(publishers: list[str], subscribers: list[str]) -> dict[str, str]:
    roles = {**dict.fromkeys(publishers, "publisher"), **dict.fromkeys(subscribers, "subscriber")}
    both = {*publishers} & {*subscribers}
    if both or FORWARDER in roles:
        raise ConfigError(
            f"a name stands for one computer and one role, got {', '.join(both) or FORWARDER} twice"
        )
    for name in roles:
        if not _NAME.fullmatch(name):
            raise ConfigError(f"a name is made of letters, digits, '_', '.', '-', got {name!r}")
    return roles


def _private(folder: Path) -> Path:
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder.chmod(0o700)
    return folder


def _pair(folder: Path, name: str, role: str) -> KeyFolder:
    home = _private(folder / name)
    secret = home / (name + _PAIR_SUFFIX)
    if secret.exists():
        return KeyFolder(name, role, home, new=False)
    public, private = zmq.curve_keypair()
    (home / (name + _PUBLIC_SUFFIX)).write_text(_certificate(public))
    handle = os.open(secret, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "w") as file:
        file.write(_certificate(public, private))
    return KeyFolder(name, role, home, new=True)


def _certificate(public: bytes, secret: bytes | None = None) -> str:
    """Return the text of a certificate as ``zmq.auth`` writes and reads it."""
    lines = ["metadata", "curve", f'    public-key = "{public.decode()}"']
    if secret is not None:
        lines.insert(0, "# secret: not for other people or computers")
        lines.append(f'    secret-key = "{secret.decode()}"')
    return "\n".join(lines) + "\n"


def _introduce(forwarder: Path, client: KeyFolder) -> None:
    """Give the forwarder the client's public key, and the client the forwarder's."""
    public = client.path / (client.name + _PUBLIC_SUFFIX)
    shutil.copyfile(public, forwarder / ALLOWED[client.role] / public.name)
    shutil.copyfile(
        forwarder / (FORWARDER + _PUBLIC_SUFFIX), client.path / (FORWARDER + _PUBLIC_SUFFIX)
    )


def _home(folder: Path, role: str, wanted: str) -> Path:
    """Return the folder itself if it is that of one computer, else the one named like the role."""
    for home in (folder / role, folder):
        if (home / wanted).is_file():
            return home
    raise ConfigError(f"no keys of a {role} in {folder}: {wanted} is missing; operando keys DIR")


def _check_private(secret: Path) -> None:
    mode = secret.stat().st_mode & 0o077
    if mode:
        raise ConfigError(
            f"others can read the secret key {secret} (mode {secret.stat().st_mode & 0o777:o}): "
            "chmod 600 it, and make new keys if they may have"
        )


class WireSettings(BaseModel):
    """Base of the settings of sources and keys."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class CurveSettings(WireSettings):
    """Keys of a CURVE client; bluesky's ``ClientCurve`` is taken as well."""

    secret_path: Path = Field(description="File with our key pair, `*.key_secret` of zmq.auth")
    server_public_key: Path = Field(description="File with the public key of the proxy, `*.key`")


class CurveServerSettings(WireSettings):
    """Keys of a CURVE server, and whom it lets in; like bluesky's ``ServerCurve``."""

    secret_path: Path = Field(description="File with our key pair, `*.key_secret` of zmq.auth")
    client_public_keys: Path = Field(
        description="Folder with the public keys, `*.key`, of those who are let in"
    )
