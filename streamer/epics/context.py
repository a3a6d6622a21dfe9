"""The server of caproto, without beacons that nobody can hear."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, NoReturn

from caproto.asyncio.server import Context

from .environment import LOOPBACK


class LocalContext(Context):
    """Serves this computer alone, and tells nobody by beacons that it is there.

    On loopback they reach nothing but a ``caRepeater``, and where none runs the stock server logs a
    traceback for each.
    """

    async def broadcast_beacon_loop(self) -> NoReturn:
        """Wait to be cancelled."""
        while True:
            await asyncio.Event().wait()


def make_context(names: Mapping[str, Any], interfaces: str) -> Context:
    """A server of process variables.

    Parameters
    ----------
    names : channel data by the name of the variable.
    interfaces : where it serves, as `loopback_by_default` tells.
    """
    kind = LocalContext if interfaces.split() == [LOOPBACK] else Context
    return kind(dict(names))
