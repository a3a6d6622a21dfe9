"""Measured images moved by a known motion, and what each method makes of them.

A method knows positions but for a constant (the place of its reference point), so that the mean
error over the frames is taken out of each; what varies with the frame, and above all what steps at
the edge, stays.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from ....models.arrays import Array, Mask
from ...config import Settings
from ...errors import ConfigError
from ..evaluate.matching import MEASURED, Revision, of_revision, where
from .harness import Column, Progress, ResultRows, Table, new_figure, no_progress, show_image
from .peers import PEERS, PeerStart, make_peer
from .real_stack import (
    ABOVE_EV,
    BELOW_EV,
    EnergyStack,
    load_stack,
    load_trace,
    margin_for,
    move,
    process_found,
    stack_documents,
)

PARTICLES = "operando, median of particles"
FIRST = "operando, median of particles, first values"
DRIFT = "operando, drift"
_SHORT = 0.5  # by eye: share of the frames in which a particle must be seen to be told by itself
_OURS, _DRIFT = "#D55E00", "#E69F00"
_PEER_COLOURS = ("#0072B2", "#009E73", "#CC79A7", "#56B4E9")
_ERRORS = [Column(key, key, ".3f") for key in ("median", "p95", "rms", "step", "bump")]


@dataclass(frozen=True, slots=True, kw_only=True)
class MotionError:
    """Distance of a measured motion from the known one; lengths in the plane, px.

    Attributes
    ----------
    frames : frames with a measurement, of all frames.
    median, p95, rms, largest : of the length of the error per frame.
    step : length of the mean error above the edge minus that below.
    bump : the same, at the edge minus below.
    """

    frames: int
    of: int
    median: float
    p95: float
    rms: float
    largest: float
    step: float
    bump: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Injected:
    """Errors of all methods on the moved stack and on the same field at rest.

    Attributes
    ----------
    stack : the moved images with their motion.
    errors : by method, (F, 2) float64, error of the motion per frame, px, centred.
    at_rest : the same on the images as their authors aligned them: it holds what their alignment
        left, and what the chemistry does to the method.
    particles : errors of each particle in the moved images, see `particle_errors`.
    left_out : why a peer was not run, by its name.
    """

    stack: EnergyStack
    errors: dict[str, Array]
    at_rest: dict[str, Array]
    particles: pd.DataFrame
    left_out: dict[str, str]

    def score(self, method: str) -> dict[str, MotionError]:
        """Sum up errors ``moved``, ``at_rest``, and ``beyond_rest``: by the motion alone."""
        region = self.stack.region
        moved, rest = self.errors[method], self.at_rest[method]
        return {
            "moved": motion_error(moved, region),
            "at_rest": motion_error(rest, region),
            "beyond_rest": motion_error(centred(moved - rest), region),
        }

    def particle_scores(self) -> pd.DataFrame:
        """Return one row per particle seen in half of the frames or more.

        Columns particle, area, nees (mean squared error over its published variance, 2 if that is
        right) and those of `MotionError`.
        """
        rows = []
        for particle, mine in self.particles.groupby("particle"):
            if len(mine) < _SHORT * len(self.stack.energies):
                continue
            errors = np.full((len(self.stack.energies), 2), np.nan)
            errors[mine["frame"]] = mine[["dy", "dx"]]
            sigma = mine[["sigma_y", "sigma_x"]].to_numpy(np.float64)
            nees = np.square(mine[["dy", "dx"]].to_numpy(np.float64) / sigma).sum(axis=1).mean()
            score = asdict(motion_error(errors, self.stack.region))
            area = float(mine["area"].median())
            rows.append({"particle": particle, "area": area, "nees": float(nees), **score})
        return pd.DataFrame(rows)

    def summary(self) -> dict[str, Any]:
        """Return plain numbers, for JSON."""
        return {
            "frames": len(self.stack.energies),
            "field_px": list(self.stack.counts.shape[1:]),
            "motion_rms_px": float(np.sqrt(np.square(self.stack.motion).sum(axis=1).mean())),
            "methods": {
                method: {name: asdict(error) for name, error in self.score(method).items()}
                for method in self.errors
            },
            "left_out": self.left_out,
            "particles": self.particle_scores().to_dict("records"),
        }


def measure_injected(
    data: Path,
    settings: Settings,
    *,
    scale: float,
    peers: tuple[str, ...] = tuple(PEERS),
    progress: Progress = no_progress,
) -> Injected:
    """Move the stack by a measured motion and have every method measure it.

    Parameters
    ----------
    data : the folder of the real data. settings : of the processor.
    scale : factor on the measured motion.
    peers : other methods; they start at our positions in the first frame.

    Raises
    ------
    ImportDataError
        If the data are not there.
    """
    whole = load_stack(data)
    motion = load_trace(data, len(whole.energies), scale)
    margin = margin_for(motion)
    moved, still = move(whole, motion, margin), move(whole, np.zeros_like(motion), margin)
    runs = [_process(moved, settings, progress), _process(still, settings, progress)]
    errors, at_rest = (ours(r, s.motion) for r, s in zip(runs, (moved, still), strict=True))
    left_out = {}
    starts = [_start(r, s.motion) for r, s in zip(runs, (moved, still), strict=True)]
    for n, name in enumerate(peers, 1):
        try:
            errors[name] = _peer(name, moved, starts[0])
            at_rest[name] = _peer(name, still, starts[1])
        except ConfigError as error:  # its library is not installed
            left_out[name] = str(error)
        progress("peers", n, len(peers))
    return Injected(
        stack=moved,
        errors=errors,
        at_rest=at_rest,
        particles=particle_errors(runs[0].table("particles"), motion, "highest"),
        left_out=left_out,
    )


def ours(results: ResultRows, motion: Array) -> dict[str, Array]:
    """Work out the errors of the processor per frame, by what is read from its results."""
    frames = len(motion)

    def median(revision: Revision) -> Array:
        return frame_errors(particle_errors(results.table("particles"), motion, revision), frames)

    drift = of_revision(results.table("frames"), "highest").set_index("frame")[
        ["drift_y", "drift_x"]
    ]
    measured = drift.reindex(range(frames)).to_numpy(np.float64)
    return {
        PARTICLES: median("highest"),
        FIRST: median("first"),
        DRIFT: centred(measured - motion),
    }


def _process(stack: EnergyStack, settings: Settings, progress: Progress) -> ResultRows:
    label = "processing moved" if stack.motion.any() else "processing at rest"
    stream = stack_documents(stack, lambda n, of: progress(label, n, of))
    return process_found(stream, settings)


def _start(results: ResultRows, motion: Array) -> PeerStart:
    """Take our particles in the first frame, and where they should be in the others."""
    rows = of_revision(results.table("particles"), "highest")
    rows = where(rows, (rows["frame"] == 0) & rows["state"].isin(MEASURED))
    yx = rows[["y", "x"]].to_numpy(np.float64)
    return PeerStart(
        frame0=0,
        yx=yx,
        radius=np.sqrt(rows["area"].to_numpy(np.float64) / np.pi),
        oracle_yx=yx + (motion - motion[0])[:, None],
    )


def _peer(name: str, stack: EnergyStack, start: PeerStart) -> Array:
    found = make_peer(name)(stack.od, stack.energies, start).yx - stack.motion[:, None]
    frame, particle = np.nonzero(np.isfinite(found).all(axis=2))
    rows = {"frame": frame, "particle": particle}
    rows |= {f"d{axis}": found[frame, particle, n] for n, axis in enumerate("yx")}
    return frame_errors(centred_by_particle(pd.DataFrame(rows)), len(found))


# Errors, summed up.


def centred(errors: Array) -> Array:
    """Take the mean over the frames out of errors (F, 2) px; NaN stays."""
    if not np.isfinite(errors).any():
        return errors
    return errors - np.nanmean(errors, axis=0)


def motion_error(errors: Array, region: NDArray[np.str_]) -> MotionError:
    """Sum up errors (F, 2), px, NaN where nothing was measured.

    Parameters
    ----------
    region : (F,) ``below``, ``at`` or ``above`` the edge.
    """
    known: Mask = np.isfinite(errors[:, 0]) & np.isfinite(errors[:, 1])
    length = np.hypot(*errors[known].T) if known.any() else np.full(1, np.nan)
    return MotionError(
        frames=int(known.sum()),
        of=len(errors),
        median=float(np.median(length)),
        p95=float(np.percentile(length, 95)),
        rms=float(np.sqrt(np.mean(length**2))),
        largest=float(length.max()),
        step=_jump(errors, known, region, "above"),
        bump=_jump(errors, known, region, "at"),
    )


def _jump(errors: Array, known: Mask, region: NDArray[np.str_], to: str) -> float:
    parts = [errors[known & (region == name)] for name in ("below", to)]
    if not all(map(len, parts)):
        return float("nan")
    return float(np.hypot(*(parts[1].mean(axis=0) - parts[0].mean(axis=0))))


def particle_errors(particles: pd.DataFrame, motion: Array, revision: Revision) -> pd.DataFrame:
    """Tabulate errors of measured positions: frame, particle, dy, dx, sigma_y, sigma_x, area.

    Parameters
    ----------
    particles : rows of the ``particles`` stream. motion : (F, 2) px, the known motion.
    revision : rows of the ``highest`` revision of each frame, or of the ``first``.
    """
    rows = of_revision(particles, revision)
    rows = where(rows, rows["state"].isin(MEASURED) & np.isfinite(rows["y"]))
    frame = rows["frame"].to_numpy(np.int64)
    columns = {name: rows[name] for name in ("frame", "particle", "sigma_y", "sigma_x", "area")}
    for axis, name in enumerate("yx"):
        columns[f"d{name}"] = rows[name] - motion[frame, axis]
    return centred_by_particle(pd.DataFrame(columns))


def centred_by_particle(errors: pd.DataFrame) -> pd.DataFrame:
    """Take the mean over the frames of each particle out of the errors dy, dx."""
    means = errors.groupby("particle")[["dy", "dx"]].transform("mean")
    return errors.assign(dy=errors["dy"] - means["dy"], dx=errors["dx"] - means["dx"])


def frame_errors(errors: pd.DataFrame, frames: int) -> Array:
    """Take the median over the particles, (F, 2) px, NaN where there is none, its mean out."""
    medians = errors.groupby("frame")[["dy", "dx"]].median().reindex(range(frames))
    return centred(medians.to_numpy(np.float64))


# For people.


def injected_tables(result: Injected) -> tuple[Table, Table]:
    """Lay out the errors of every method, and of every particle."""
    methods: list[dict[str, Any]] = []
    for method in result.errors:
        score = result.score(method)
        rest = score["at_rest"]
        more = {"rest": rest.median, "rest_step": rest.step}
        more["beyond"] = score["beyond_rest"].median
        methods.append({"method": method, **asdict(score["moved"]), **more})
    left_out = [
        {"method": f"{name}: {why.splitlines()[0]}"} for name, why in result.left_out.items()
    ]
    columns = (
        Column("method", "method"),
        Column("frames", "frames", "d"),
        *_ERRORS,
        Column("rest", "at rest", ".3f"),
        Column("rest_step", "step at rest", ".3f"),
        Column("beyond", "beyond rest", ".3f"),
    )
    title = "error of the motion per frame, px; step, bump: mean above, at the edge minus below"
    seen = (
        Column("particle", "particle", "d"),
        Column("area", "area", ".0f"),
        Column("frames", "frames", "d"),
        *_ERRORS,
        Column("nees", "nees", ".1f"),
    )
    particles: Any = result.particle_scores().to_dict("records")
    return (
        Table(title, columns, [*methods, *left_out]),
        Table("error per particle, px", seen, particles),
    )


def draw_injected(result: Injected) -> Figure:
    """Draw images, injected and measured motion, and the error per frame; the edge is shaded."""
    figure = new_figure(15, 11, dpi=90)
    grid = figure.add_gridspec(4, 3)
    stack = result.stack
    for column, region in enumerate(("below", "at", "above")):
        frame = int(np.flatnonzero(stack.region == region).mean())
        axes = figure.add_subplot(grid[0, column])
        show_image(axes, stack.od[frame], f"{region} the edge, {stack.energies[frame]:.1f} eV")
    for row, axis in enumerate("yx"):
        axes = figure.add_subplot(grid[1 + row, :])
        _draw_motion(axes, result, row, axis)
    _draw_errors(figure.add_subplot(grid[3, :]), result)
    return figure


def _draw_motion(axes: Axes, result: Injected, column: int, name: str) -> None:
    energies, motion = result.stack.energies, result.stack.motion
    middle = motion[:, column] - motion[:, column].mean()
    axes.plot(energies, middle, color="black", lw=2.5, alpha=0.35, label="put in")
    for method, colour in ((PARTICLES, _OURS), (DRIFT, _DRIFT)):
        measured = middle + result.errors[method][:, column]
        axes.plot(energies, measured, ".-", ms=4, lw=0.7, color=colour, label=method)
    axes.set_ylabel(f"motion {name}, px")
    _shade(axes)
    axes.legend(fontsize=8, ncol=3, loc="upper left")


def _draw_errors(axes: Axes, result: Injected) -> None:
    region = result.stack.region
    others = [m for m in result.errors if not m.startswith("operando")]
    others.sort(key=lambda m: motion_error(result.errors[m], region).median)
    chosen = [(PARTICLES, _OURS), *zip(others, _PEER_COLOURS, strict=False)]
    for method, colour in reversed(chosen):
        length = np.hypot(*result.errors[method].T)
        label = f"{method} (median {np.nanmedian(length):.3f} px)"
        axes.semilogy(result.stack.energies, length, ".-", ms=4, lw=0.8, color=colour, label=label)
    axes.axhline(0.2, color="black", lw=0.6, ls=":")
    axes.set_ylim(0.005, 10)
    axes.set_xlabel("energy, eV")
    axes.set_ylabel("error, px")
    _shade(axes)
    axes.legend(fontsize=8, ncol=2, loc="lower right")


def _shade(axes: Axes) -> None:
    axes.axvspan(BELOW_EV, ABOVE_EV, color="gray", alpha=0.15, lw=0)
    axes.margins(x=0.01)
