"""Secrets out of texts that are going to be seen."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping

HIDDEN = "***"
_SHORTEST = 6  # anything shorter would be found inside ordinary words
_NAMES_OF_SECRETS = re.compile(r"(API_?KEY|SECRET|PASSWORD|PASSWD|TOKEN)S?$", re.IGNORECASE)
_NAMED = re.compile(
    r"""((?:api[_-]?key|access[_-]?token|refresh[_-]?token|password|passwd|secret)s?
        ['"]?\s*[=:]\s*['"]?)[^\s'"&,;)}\]]+""",
    re.IGNORECASE | re.VERBOSE,
)
_HEADER = re.compile(r"\b(apikey|bearer|basic)\s+[A-Za-z0-9._~+/=-]{6,}", re.IGNORECASE)
_USERINFO = re.compile(r"(://[^/\s:@]*:)[^/\s@]+@")


def redact(text: str, environment: Mapping[str, str] | None = None) -> str:
    """Replace what is, or looks like, a secret by ``***``.

    Parameters
    ----------
    text : any text.
    environment : variables; the values of those that are called ``*API_KEY``, ``*SECRET``,
        ``*PASSWORD`` or ``*TOKEN`` are secrets wherever they appear. None: those of this process.
    """
    for name, value in (os.environ if environment is None else environment).items():
        if len(value) >= _SHORTEST and _NAMES_OF_SECRETS.search(name):
            text = text.replace(value, HIDDEN)
    text = _NAMED.sub(rf"\1{HIDDEN}", text)
    text = _HEADER.sub(rf"\1 {HIDDEN}", text)
    return _USERINFO.sub(rf"\1{HIDDEN}@", text)
