"""Array types of signatures: one name for each dtype, whatever the shape.

Shapes stand in docstrings; units too.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
"""Positions, spectra, covariances: what is computed with in double precision."""

Image = NDArray[np.float32]
"""Pixels of frames, ROIs and maps."""

Mask = NDArray[np.bool_]
"""True where a pixel, a row or a candidate counts."""

Labels = NDArray[np.int32]
"""Numbers of regions, 0 outside all of them."""
