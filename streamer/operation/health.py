"""Whether the service is well, and what ails it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ..redact import redacted


@dataclass(frozen=True, slots=True)
class Finding:
    """What a check found.

    Attributes
    ----------
    ok : whether all is well.
    details : plain data for the report.
    """

    ok: bool
    details: Mapping[str, Any] = field(default_factory=dict)


Check = Callable[[], Finding]


class Health:
    """Checks by name; add one by `add`.

    A check is called from the thread of whoever asks, and must not wait for the processing.
    """

    def __init__(self) -> None:
        self._checks: dict[str, Check] = {}
        self._vital: set[str] = set()

    def add(self, name: str, check: Check, *, vital: bool = False) -> None:
        """Add a check.

        Parameters
        ----------
        name : key in the report.
        check : is called for every report.
        vital : whether only a restart helps if it fails.
        """
        self._checks[name] = check
        if vital:
            self._vital.add(name)

    def report(self) -> tuple[bool, dict[str, Any]]:
        """Whether everything is well, and the report."""
        return self._report(self._checks)

    def alive(self) -> tuple[bool, dict[str, Any]]:
        """Whether everything is well that only a restart would help, and the report on that."""
        return self._report({name: self._checks[name] for name in self._vital})

    def _report(self, checks: Mapping[str, Check]) -> tuple[bool, dict[str, Any]]:
        findings = {name: _guarded(check) for name, check in checks.items()}
        well = all(finding.ok for finding in findings.values())
        body: dict[str, Any] = {"status": "ok" if well else "failing"}
        body["failing"] = sorted(name for name, finding in findings.items() if not finding.ok)
        for name, finding in findings.items():
            body[name] = {"ok": finding.ok, **finding.details}
        return well, body


def _guarded(check: Check) -> Finding:
    try:
        return check()
    except Exception as error:  # noqa: BLE001 - what cannot be looked at is not well
        return Finding(False, {"error": redacted(f"{type(error).__name__}: {error}")})
