"""A recording as it would have come from a beamline on a bad day: see ``streamer.lab.faults``."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from ...errors import ConfigError
from ...io.recording.dialects import Recorded
from ...io.recording.replay import Delivered, document_time
from .. import faults
from . import FaultScript, Sent


class FaultInjector:
    """Breaks recordings after a script; the same way each time.

    Parameters
    ----------
    script : what goes wrong.

    Attributes
    ----------
    state : after the last document.
    """

    def __init__(self, script: FaultScript) -> None:
        self.script = script
        self.state = faults.init()

    def __call__(self, documents: Iterable[Recorded]) -> Iterator[Recorded]:
        """Yield what arrives of a recording; gaps between times of arrival are those recorded."""
        at = 0.0
        for item in documents:
            told = document_time(item.doc) if item.arrival is None else item.arrival
            at = at if told is None else max(at, told)
            self.state, sent = faults.update(self.state, self.script, item.name, item.doc, at)
            yield from map(_delivered, sent)
        self.state, sent = faults.finish(self.state)
        yield from map(_delivered, sent)

    def summary(self) -> list[str]:
        """Tell what was injected, a line each."""
        return faults.summary_lines(self.state, self.script)


def load_script(path: Path, seed: int | None = None) -> FaultScript:
    """Read a fault script.

    Parameters
    ----------
    path : YAML file; see `FaultScript`.
    seed : wins over that of the file.

    Raises
    ------
    ConfigError
        It cannot be read, or holds something unknown or out of range; each one is named.
    """
    try:
        content: Any = yaml.safe_load(path.read_text())
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"cannot read the faults of {path}: {error}") from error
    if not isinstance(content, dict):
        got = type(content).__name__
        raise ConfigError(f"{path} must be a mapping with `faults`, a list, got {got}")
    if seed is not None:
        content = {**content, "seed": seed}
    try:
        return FaultScript.model_validate(content)
    except ValidationError as error:
        lines = [
            f"  {'.'.join(str(part) for part in e['loc'])}: {e['msg']} (got {e['input']!r:.80})"
            for e in error.errors()
        ]
        raise ConfigError("\n".join([f"the faults of {path} cannot be used:", *lines])) from None


def _delivered(sent: Sent) -> Delivered:
    return Delivered(sent.name, sent.doc, sent.at, sent.message or None)
