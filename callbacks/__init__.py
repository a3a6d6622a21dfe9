"""Everything that is called with ``(name, doc)``.

Names are resolved when they are first used, so that a RunEngine process can import its publisher
without importing torch.
"""

from __future__ import annotations

import importlib
from typing import Any

_HOMES = {
    "FramePublisher": "publisher",
    "LiveResults": "tiled.results",
    "OneStream": "stock",
    "StreamProcessor": "processor.processor",
    "TiledSink": "tiled.sink",
}

__all__ = ["FramePublisher", "LiveResults", "OneStream", "StreamProcessor", "TiledSink"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
