"""Log records as lines for machines, without secrets."""

from __future__ import annotations

import json
import logging
import re
from datetime import UTC, datetime
from typing import Any

from ...io.redact import redacted

_RUN = re.compile(r"\brun (?P<uid>[0-9a-f]{8}-[0-9a-f-]{27}|[^\s:?]+(?=:))")


class JsonFormatter(logging.Formatter):
    """One JSON object a line.

    Keys: ``time`` (ISO 8601, UTC, ms), ``level``, ``logger``, ``message``; ``run``, the uid of the
    raw run, where the record has it as `run` or its message names one; ``exception``, the
    traceback, where there is one.
    """

    def format(self, record: logging.LogRecord) -> str:
        """Make the line."""
        message = record.getMessage()
        content: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": redacted(message),
        }
        run = run_of(record, message)
        if run:
            content["run"] = run
        if record.exc_info and record.exc_info[0] is not None:
            content["exception"] = redacted(self.formatException(record.exc_info))
        return json.dumps(content, ensure_ascii=False)


def run_of(record: logging.LogRecord, message: str) -> str:
    """Return the uid of the raw run that a record is about, "" if it cannot be told."""
    given = getattr(record, "run", None)
    if given is not None:
        return str(given)
    named = _RUN.search(message)
    return named["uid"] if named else ""
