"""Frames that must not be fitted: repeated, late, blank, blurred.

What is wrong with the pixels as such (shape, saturation, too little light) is for ``correct``;
here a frame is compared with those before it. Pure functions: `arrived` looks at a raw frame before
it is corrected, `assess` at its optical density before it is linked.
"""

from .arrival import GOOD, ArrivalState, Verdict, arrived
from .settings import QualitySettings
from .sharpness import SharpnessState, assess

__all__ = [
    "GOOD",
    "ArrivalState",
    "QualitySettings",
    "SharpnessState",
    "Verdict",
    "arrived",
    "assess",
]
