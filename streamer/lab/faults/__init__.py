"""Break documents as a beamline would, after a script.

Pure: `update` takes one document and gives what arrives in its place, with times of arrival. The
fate of a document follows from the seed, the place of the fault in the script and the address of
the document (run, stream, event number) alone, so that the same script breaks the same recording
in the same way however it is replayed. Documents are copied, never changed.
"""

from .core import FaultInjector, finish, init, update
from .script import FaultScript, load_script
from .state import FaultState, Sent, summary_lines

__all__ = [
    "FaultInjector",
    "FaultScript",
    "FaultState",
    "Sent",
    "finish",
    "init",
    "load_script",
    "summary_lines",
    "update",
]
