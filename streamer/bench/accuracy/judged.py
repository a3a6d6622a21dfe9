"""Which instances of the true particles a regime asks for."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ...simulate import Truth


def whole(truth: Truth) -> Truth:
    """Ask for particles that lie wholly inside the frame."""
    return truth


def centre_inside(truth: Truth) -> Truth:
    """Ask for particles whose centre of mass lies inside the frame, cut or not.

    The position asked for is that of the whole silhouette, as if the frame went on: what a user
    who follows a cut particle needs.
    """
    inside = np.all((truth.yx >= 0) & (truth.yx <= truth.shape - 1), axis=-1)
    return replace(truth, cut=~inside)
