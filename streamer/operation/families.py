"""Numbers that are read when Prometheus asks for them."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

logger = logging.getLogger(__name__)

Numbers = float | Mapping[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """One number, or one per value of a label.

    Attributes
    ----------
    name : of the metric, with its unit and without ``_total``.
    help : one line about it.
    read : gives the number, or the numbers by label; from any thread, without waiting.
    label : name of the label, "" if there is none.
    kind : ``counter`` only grows.
    """

    name: str
    help: str
    read: Callable[[], Numbers]
    label: str = ""
    kind: Literal["gauge", "counter"] = "gauge"


LEVELS = frozenset({"queued", "queued_bytes", "peak_bytes", "pending"})
"""Fields of counters that also go down."""


def of_counts(
    part: str, counts: Callable[[], Any], levels: Collection[str] = LEVELS
) -> list[Family]:
    """Families of all numbers in a dataclass of counters.

    Parameters
    ----------
    part : whose counters: the names are ``operando_<part>_<field>``.
    counts : gives the dataclass; its fields that are no numbers are left out.
    levels : fields that also go down, and those that end like them (``spool_bytes``).
    """
    names = [f.name for f in dataclasses.fields(counts()) if _is_number(getattr(counts(), f.name))]
    return [_of_field(part, name, counts, gauge=name in levels) for name in names]


def _of_field(part: str, name: str, counts: Callable[[], Any], *, gauge: bool) -> Family:
    return Family(
        name=f"operando_{part}_{name}",
        help=f"{name.replace('_', ' ')} of the {part}",
        read=lambda: float(getattr(counts(), name)),
        kind="gauge" if gauge else "counter",
    )


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


class Readings(Collector):
    """Reads families when they are asked for; one that fails costs itself alone."""

    def __init__(self) -> None:
        self._families: list[Family] = []
        self._failed: set[str] = set()

    def add(self, families: Iterable[Family]) -> None:
        """Add families."""
        self._families = [*self._families, *families]

    def describe(self) -> Iterable[Metric]:
        """Nothing is known beforehand."""
        return []

    def collect(self) -> Iterable[Metric]:
        """Read all families."""
        for family in self._families:
            try:
                numbers = family.read()
            except Exception as error:  # noqa: BLE001 - the others are still worth having
                self._say_failed(family.name, error)
            else:
                yield _metric(family, numbers)

    def _say_failed(self, name: str, error: Exception) -> None:
        if name not in self._failed:
            self._failed.add(name)
            logger.warning(
                "the metric %s cannot be read: %s: %s", name, type(error).__name__, error
            )


def _metric(family: Family, numbers: Numbers) -> Metric:
    kind = GaugeMetricFamily if family.kind == "gauge" else CounterMetricFamily
    if not isinstance(numbers, Mapping):
        return kind(family.name, family.help, value=numbers)
    metric = kind(family.name, family.help, labels=[family.label])
    for label, number in numbers.items():
        metric.add_metric([label], number)
    return metric
