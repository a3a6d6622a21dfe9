"""``operando dashboard``: the live web page."""

from __future__ import annotations

from typing import Annotated

import typer

from .options import TiledUri


def dashboard(
    tiled: TiledUri = None,
    host: Annotated[str, typer.Option(help="Address to listen at.")] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="Port to listen at; 0 picks a free one.")
    ] = 8050,
    public: Annotated[
        bool, typer.Option("--public", help="Let other machines reach it, without password.")
    ] = False,
) -> None:
    """Show what is in Tiled as a live web page, to any number of viewers.

    It reads Tiled and nothing else, and writes nothing. The API key stays with this process; one
    that may only read is enough.
    """
    from ..dashboard.serve import Dashboard
    from ..errors import ConfigError
    from .terminal import say

    if tiled is None:
        raise ConfigError("operando dashboard needs --tiled URI, e.g. http://localhost:8000")
    served = Dashboard(tiled, host, port, public=public)
    say(f"dashboard of {tiled.partition('?')[0]} at {served.address} (Ctrl-C ends it)")
    served.run()
