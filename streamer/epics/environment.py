"""Where an IOC is reached: on this computer alone, unless EPICS is told otherwise."""

from __future__ import annotations

import socket
from collections.abc import MutableMapping

from ..errors import ConfigError

INTERFACES = "EPICS_CAS_INTF_ADDR_LIST"
BEACONS = "EPICS_CAS_BEACON_ADDR_LIST"
AUTO_BEACONS = "EPICS_CAS_AUTO_BEACON_ADDR_LIST"
PORT = "EPICS_CA_SERVER_PORT"
LOOPBACK = "127.0.0.1"


def loopback_by_default(environment: MutableMapping[str, str]) -> str:
    """Have servers of Channel Access serve this computer alone, unless interfaces are named.

    An EPICS server without ``EPICS_CAS_INTF_ADDR_LIST`` listens everywhere, without a password, and
    broadcasts beacons into all networks; Channel Access lets anybody write who can connect.

    Parameters
    ----------
    environment : that of the process; changed in place.

    Returns
    -------
    Where it serves, in words.
    """
    if environment.get(INTERFACES, "").strip():
        return environment[INTERFACES]
    environment[INTERFACES] = LOOPBACK
    if not environment.get(BEACONS, "").strip():
        environment[BEACONS] = LOOPBACK
        environment[AUTO_BEACONS] = "NO"
    return LOOPBACK


def check_interfaces(interfaces: str) -> None:
    """Find out whether these are addresses of this computer.

    Raises
    ------
    ConfigError
        One is not; the server itself would try a hundred ports there.
    """
    for host in interfaces.split():
        try:
            with socket.socket() as probe:
                probe.bind((host.partition(":")[0], 0))
        except OSError as error:
            raise ConfigError(
                f"process variables cannot be served at {host}: {error}; {INTERFACES} takes "
                "addresses of this computer"
            ) from error
