"""Process variables beside a processor."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from ...callbacks.processor import StreamProcessor
from ..operation.health import Finding
from ..operation.monitor import Monitor
from .terminal import say


@contextmanager
def serving_variables(
    prefix: str | None, processor: StreamProcessor, monitor: Monitor
) -> Iterator[None]:
    """Within this, results are served as process variables, and the monitor tells how that goes.

    Parameters
    ----------
    prefix : of their names; None for none.

    Raises
    ------
    ConfigError
        On entering, if they cannot be served.
    """
    if prefix is None:
        yield
        return
    from ..epics.ioc import SoftIoc

    with SoftIoc(prefix, alive=lambda: monitor.health.alive()[0]) as ioc:

        def check() -> Finding:
            details = {"trouble": ioc.trouble, "failures": ioc.failures, "held": ioc.held}
            return Finding(not ioc.trouble, details)

        monitor.add_part("epics", check=check)
        say(f"process variables {prefix}* are served at {ioc.where}")
        token = processor.subscribe(ioc)
        try:
            yield
        finally:
            processor.unsubscribe(token)
