"""Scripted faults: documents in, the same documents out as a beamline would break them.

Pure: `update` takes one document and gives what arrives in its place, with times of arrival. What
happens to a document follows from the seed, the place of the fault in the script and the address of
the document (run, stream, event number) alone, so that the same script breaks the same recording
in the same way however it is replayed. Documents are copied, never changed.
"""

from .core import finish, init, update
from .script import FaultScript
from .state import FaultState, Sent, summary_lines

__all__ = ["FaultScript", "FaultState", "Sent", "finish", "init", "summary_lines", "update"]
