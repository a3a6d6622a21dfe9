"""The command line: ``operando``.

Every command lives in its own module and imports what it needs when it runs, so that
``operando --help`` answers at once.
"""

from __future__ import annotations

from .app import main

__all__ = ["main"]
