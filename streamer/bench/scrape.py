"""Reads the metrics of a running service."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import httpx
from prometheus_client.parser import text_string_to_metric_families


@dataclass(frozen=True, slots=True)
class Scraped:
    """Samples of one scrape, by name and labels."""

    samples: Mapping[tuple[str, frozenset[tuple[str, str]]], float]

    def sum(self, name: str, **labels: str) -> float:
        """Sum of the samples of a name that have these labels; 0 if there are none."""
        wanted = labels.items()
        return sum(
            value for (key, has), value in self.samples.items() if key == name and wanted <= has
        )

    def by(self, name: str, *labels: str) -> dict[tuple[str, ...], float]:
        """Samples of a name by the values of some labels."""
        return {
            tuple(dict(has)[label] for label in labels): value
            for (key, has), value in self.samples.items()
            if key == name
        }


def scrape(address: str) -> Scraped:
    """Ask a service for its metrics.

    Parameters
    ----------
    address : host:port of its ``--http``.

    Raises
    ------
    httpx.HTTPError
        It does not answer.
    """
    text = httpx.get(f"http://{address}/metrics", timeout=10.0).raise_for_status().text
    return Scraped(
        {
            (sample.name, frozenset(sample.labels.items())): sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
        }
    )
