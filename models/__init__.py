"""Tensors in, tensors out: detectors and image kernels. No documents, no I/O but weights.

Names are imported when first used, so that ``import operando.models`` does not load torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .detector import DETECTORS, Detections, Detector, make_detector
    from .device import resolve_device
    from .settings import DetectSettings
    from .warp import resample


__all__ = [
    "DETECTORS",
    "DetectSettings",
    "Detections",
    "Detector",
    "make_detector",
    "resample",
    "resolve_device",
]

_HOME = {
    "DETECTORS": ".detector",
    "DetectSettings": ".settings",
    "Detections": ".detector",
    "Detector": ".detector",
    "make_detector": ".detector",
    "resample": ".warp",
    "resolve_device": ".device",
}


def __getattr__(name: str) -> object:
    """Import a public name when it is first used (PEP 562)."""
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOME[name], __name__), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
