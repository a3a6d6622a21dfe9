"""Rows of an estimate as trajectories of the true particles."""

from __future__ import annotations

import numpy as np
import pandas as pd

from ....models.arrays import Array
from ...evaluate.tables import MEASURED, where
from ...simulate import Truth


def owned(errors: pd.DataFrame, rows: pd.DataFrame) -> pd.DataFrame:
    """Measured rows whose identity has ever been on a true particle, with that one as `truth`.

    Parameters
    ----------
    errors : of a score of these rows; each identity belongs to the particle it mostly lies on.
    rows : of the estimate; unlike the errors they hold what lies far from any particle, too.
    """
    rows = where(rows, rows["state"].isin(MEASURED))
    counts = errors.groupby(["particle", "truth"]).size().unstack(fill_value=0)
    ids, particles = counts.index.to_numpy(np.int64), counts.columns.to_numpy(np.int64)
    if not ids.size:
        return rows.iloc[:0].assign(truth=0)
    owner = particles[counts.to_numpy().argmax(axis=1)]
    at = np.searchsorted(ids, rows["particle"].to_numpy(np.int64)).clip(max=len(ids) - 1)
    known = ids[at] == rows["particle"].to_numpy(np.int64)
    return where(rows.assign(truth=owner[at]), known)


def paths(known: pd.DataFrame, truth: Truth) -> Array:
    """Positions (F, P, 2) px of each true particle, NaN where there is none.

    Of several identities on one particle in one frame, the nearest counts.
    """
    yx = np.full((truth.n_frames, truth.n_particles, 2), np.nan)
    frame, owner = (known[key].to_numpy(np.int64) for key in ("frame", "truth"))
    found = known[["y", "x"]].to_numpy(float)
    far = np.linalg.norm(found - truth.yx[frame, owner], axis=1)
    order = np.argsort(-far, kind="stable")  # the nearest is written last
    yx[frame[order], owner[order]] = found[order]
    return yx
