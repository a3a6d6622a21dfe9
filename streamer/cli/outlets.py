"""Where results go besides Tiled: a 0MQ proxy, EPICS."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from ...callbacks.processor import StreamProcessor
from ..operation.health import Finding
from ..operation.monitor import Monitor
from .terminal import say

_WAITING_BYTES = 128 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Outlets:
    """Which there are.

    Attributes
    ----------
    publish : in side of a 0MQ proxy that gets result documents.
    epics : prefix of process variables.
    """

    publish: str | None = None
    epics: str | None = None


@contextmanager
def opened(outlets: Outlets, processor: StreamProcessor, monitor: Monitor) -> Iterator[None]:
    """Within this, results of the processor go out, and the monitor tells how that goes.

    Raises
    ------
    ConfigError
        One of them cannot be opened.
    """
    with ExitStack() as stack:
        if outlets.publish is not None:
            _publish(stack, outlets.publish, processor, monitor)
        if outlets.epics is not None:
            _serve(stack, outlets.epics, processor, monitor)
        yield


def _publish(stack: ExitStack, address: str, processor: StreamProcessor, monitor: Monitor) -> None:
    from ...callbacks.publisher import FramePublisher

    publisher = FramePublisher(address, max_bytes=_WAITING_BYTES)
    stack.callback(publisher.close)
    processor.subscribe(publisher)
    monitor.add_part("results_publisher", [publisher.counters])


def _serve(stack: ExitStack, prefix: str, processor: StreamProcessor, monitor: Monitor) -> None:
    from ..epics.ioc import SoftIoc

    ioc = stack.enter_context(SoftIoc(prefix, alive=lambda: monitor.health.alive()[0]))
    processor.subscribe(ioc)
    say(f"process variables {prefix}* are served at {ioc.where}")

    def check() -> Finding:
        details = {"trouble": ioc.trouble, "failures": ioc.failures, "held": ioc.held}
        return Finding(not ioc.trouble, details)

    monitor.add_part("epics", check=check)
