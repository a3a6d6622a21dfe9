"""Judge which frames must not be fitted: repeated, late, blank, blurred.

What is wrong with the pixels as such (shape, saturation, too little light) is for ``correct``;
here a frame is compared with those before it. Pure functions: `check_arrival` looks at a raw frame
before it is corrected, `assess` at its optical density before it is linked.
"""

from .checks import GOOD, ArrivalState, SharpnessState, Verdict, assess, check_arrival
from .settings import QualitySettings

__all__ = [
    "GOOD",
    "ArrivalState",
    "QualitySettings",
    "SharpnessState",
    "Verdict",
    "assess",
    "check_arrival",
]
