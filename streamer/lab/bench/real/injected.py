"""Measured images moved by a known motion, and what each method makes of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from .....models.arrays import Array
from ....config import Settings
from ....errors import ConfigError
from ...evaluate.matching import MEASURED, Revision, of_revision, where
from ..peers import PEERS, PeerStart, make_peer
from .errors import (
    MotionError,
    centred,
    centred_by_particle,
    frame_errors,
    motion_error,
    particle_errors,
)
from .process import Tables, result_tables, stack_documents
from .stxm import EnergyStack, load_stack, load_trace, margin_for, move

Progress = Callable[[str, int, int], None]

PARTICLES = "operando, median of particles"

FIRST = "operando, median of particles, first values"

DRIFT = "operando, drift"

_SHORT = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Injected:
    """What was measured on the moved stack and on the same field at rest.

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
        """Errors ``moved``, ``at_rest``, and ``beyond_rest``: what the motion alone brought."""
        region = self.stack.region
        moved, rest = self.errors[method], self.at_rest[method]
        return {
            "moved": motion_error(moved, region),
            "at_rest": motion_error(rest, region),
            "beyond_rest": motion_error(centred(moved - rest), region),
        }

    def particle_scores(self) -> pd.DataFrame:
        """One row per particle seen in half of the frames or more.

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
        """Plain numbers, for JSON."""
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
    progress: Progress = lambda *_: None,
) -> Injected:
    """Move the stack by a measured motion and have every method measure it.

    Parameters
    ----------
    data : the folder of the real data. settings : of the processor.
    scale : factor on the measured motion.
    peers : other methods; they start at our positions in the first frame.
    progress : called with what is done, and how many of how many steps.

    Raises
    ------
    ImportDataError
        If the data are not there.
    """
    whole = load_stack(data)
    motion = load_trace(data, len(whole.energies), scale)
    margin = margin_for(motion)
    moved, still = move(whole, motion, margin), move(whole, np.zeros_like(motion), margin)
    tables = [_process(moved, settings, progress), _process(still, settings, progress)]
    errors, at_rest = (ours(t, s.motion) for t, s in zip(tables, (moved, still), strict=True))
    left_out = {}
    starts = [_start(t, s.motion) for t, s in zip(tables, (moved, still), strict=True)]
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
        particles=particle_errors(tables[0].particles, motion, "highest"),
        left_out=left_out,
    )


def ours(tables: Tables, motion: Array) -> dict[str, Array]:
    """Errors of the processor per frame, by what is read from its results."""
    frames = len(motion)

    def median(revision: Revision) -> Array:
        return frame_errors(particle_errors(tables.particles, motion, revision), frames)

    drift = of_revision(tables.frames, "highest").set_index("frame")[["drift_y", "drift_x"]]
    measured = drift.reindex(range(frames)).to_numpy(np.float64)
    return {
        PARTICLES: median("highest"),
        FIRST: median("first"),
        DRIFT: centred(measured - motion),
    }


def _process(stack: EnergyStack, settings: Settings, progress: Progress) -> Tables:
    label = "processing moved" if stack.motion.any() else "processing at rest"
    stream = stack_documents(stack, lambda n, of: progress(label, n, of))
    return result_tables(stream, settings)


def _start(tables: Tables, motion: Array) -> PeerStart:
    """Our particles in the first frame, and where they should be in the others."""
    rows = of_revision(tables.particles, "highest")
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
