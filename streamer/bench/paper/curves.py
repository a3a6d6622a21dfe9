"""Displacement and velocity of every particle over the series."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes

from ....models.arrays import Array
from .runner import PaperResult
from .synthetic import RIGID

COLOURS = (
    "#000000",
    "#E69F00",
    "#56B4E9",
    "#009E73",
    "#D55E00",
    "#0072B2",
    "#CC79A7",
    "#999933",
    "#882255",
)
"""By particle; the one with the rigid motion only is number 0, black as in the paper."""


def cumulative(yx: Array) -> Array:
    """Way gone by each particle since the first frame (F, P), px.

    Parameters
    ----------
    yx : (F, P, 2) px. Where a particle was not followed it is NaN, and a gap counts as its chord.
    """
    gone = np.full(yx.shape[:2], np.nan)
    for particle in range(yx.shape[1]):
        known = np.flatnonzero(np.isfinite(yx[:, particle]).all(axis=1))
        if known.size:
            steps = np.linalg.norm(np.diff(yx[known, particle], axis=0), axis=1)
            gone[known, particle] = np.concatenate([[0.0], np.cumsum(steps)])
    return gone


def displacement(axes: Axes, result: PaperResult, name: str) -> None:
    """Panel (c): cumulative displacement, measured and true."""
    truth, measured = result.series.truth, result.measured[name].paths
    for particle, curve in enumerate(cumulative(measured).T):
        label = f"{particle}, rigid" if particle == RIGID else str(particle)
        style = _style(particle)
        axes.plot(curve, **style, label=label)
        axes.plot(cumulative(truth.yx)[:, particle], ls=":", lw=1.0, color=style["color"])
    axes.set_title(
        f"(c) cumulative displacement (sum of the steps), {name}; dotted: truth",
        fontsize=10,
        loc="left",
    )
    axes.set_ylabel("px")
    axes.set_xlabel("projection")
    axes.legend(fontsize=8, ncols=2, title="particle", title_fontsize=8)


def velocity(axes: Axes, result: PaperResult, name: str, axis: int) -> None:
    """Panels (d), (e): one component of the motion between adjacent projections."""
    truth, measured = result.series.truth, result.measured[name].paths
    order = [*(p for p in range(truth.n_particles) if p != RIGID), RIGID]
    for particle in order:
        axes.plot(np.diff(measured[:, particle, axis]), **_style(particle))
    true = np.diff(truth.yx[:, RIGID, axis])
    axes.plot(true, ls=":", lw=1.4, color="white", zorder=6)
    error = np.diff(measured[..., axis], axis=0) - np.diff(truth.yx[..., axis], axis=0)
    word, letter = (("vertical", "d"), ("horizontal", "e"))[axis]
    axes.set_title(
        f"({letter}) {word} velocity, {name}; peak ratio to the rigid one {result.ratio[axis]:.2f} "
        f"in truth\n      dotted white: truth of the rigid one; error {_rms(error):.2f} px rms",
        fontsize=10,
        loc="left",
    )
    axes.set_ylabel("px per projection")
    axes.set_xlabel("projection")


def _style(particle: int) -> dict[str, Any]:
    rigid = particle == RIGID
    return {
        "color": COLOURS[particle % len(COLOURS)],
        "lw": 2.2 if rigid else 0.9,
        "zorder": 5 if rigid else 2,
    }


def _rms(values: Array) -> float:
    known = values[np.isfinite(values)]
    return float(np.sqrt((known**2).mean())) if known.size else float("nan")
