"""What was injected, in words."""

from __future__ import annotations

from collections.abc import Mapping

from .script import FaultScript
from .state import FaultState


def summary_lines(state: FaultState, script: FaultScript) -> list[str]:
    """Tell what was injected, and what of the script found nothing to put itself in.

    A kind of the script that never struck is told as 0: its streams or event numbers do not occur.
    """
    kinds = dict.fromkeys(fault.kind for fault in script.faults)
    counts = {kind: state.injected.get(kind, 0) for kind in kinds}
    lines = [f"faults injected with seed {script.seed}: {_listed(counts)}"]
    if state.impossible:
        lines.append(
            f"not injected, as the documents hold no such image, energy or message: "
            f"{_listed(state.impossible)}"
        )
    return lines


def _listed(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{n} {kind}" for kind, n in counts.items())
