"""What Su et al. 2024 tell of their synthetic set and of their results, and nothing else.

J. Synchrotron Rad. 31, 328, doi:10.1107/S1600577524000146. Neither the set nor a position error
is published; nor are the amplitude of the motion, the noise or the sizes of the particles. Their
equation of the similarity (1) is not the standard one as it is printed (the product of the squared
means stands where their sum belongs), and its constants are not given: `bench paper` takes the
standard one, see :func:`operando.models.ssim.ssim`.
"""

from __future__ import annotations

NAME = "Su et al. 2024, on their own set"

PROJECTIONS = 143
PARTICLES = 9
SHAPE = (460, 460)

PEAK_RATIO = (4.37, 2.14)
"""Largest non-rigid over largest rigid motion, vertical and horizontal."""

SIMILARITY = 0.9832
"""Mean similarity of the aligned ROIs of one particle, their number 2; no others are given."""

SPEED_FRAMES = 100
SPEED_SECONDS = 10.0
"""Bound on the time for 100 projections with nine particles, on a Quadro 5000. Whether that
includes finding the particles is not told."""
