"""Spectra and maps of a simulated scan against what the simulator mixed."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from scipy.ndimage import binary_erosion

from ....models.warp import crop
from ...config import Settings
from ...core.frames import Document
from ...errors import FrameError
from ..evaluate.accuracy import score_chemistry, telling_frame
from ..simulate import SimSettings, Simulator, simulate_documents
from .harness import Column, Progress, Table, no_progress, process, tracked

_RIM_PX = 2  # by eye: pixels that are mixed with what lies beside the particle
_WHOLE_NUMBERS = ("particle", "true", "radius", "pixels")


def measure_chemistry(
    simulated: SimSettings, settings: Settings, progress: Progress = no_progress
) -> pd.DataFrame:
    """Send one simulated scan through a processor, and judge its chemistry.

    Parameters
    ----------
    simulated : the scan. settings : of the processor, with the references of the simulator.
    progress : is called after each document.

    Returns
    -------
    Figures of `score_chemistry` of each particle, with `pixels` of its silhouette but for its
    outermost two, and of these `pixel_rms` and `pixel_median` of the error of the fraction.

    Raises
    ------
    FrameError
        If there is no spectrum.
    """
    simulator = Simulator(simulated)
    documents = simulate_documents(simulator=simulator, order="fxi")
    images = 2 * simulator.n_frames + 1  # and a flat of each frame, and darks
    rows = process(tracked(documents, progress, "scanning", images), settings)
    spectra, places = rows.table("spectra"), rows.table("particles")
    if spectra.empty:
        raise FrameError("no spectrum was told: are xanes.enabled and the detector as they should?")
    scores = score_chemistry(spectra, places, simulator.truth, settings.xanes)
    pixels = [
        _pixels(rows.maps.get(particle), places, simulator, true)
        for particle, true in scores[["particle", "true"]].to_numpy(np.int64).tolist()
    ]
    return pd.concat([scores, pd.DataFrame(pixels, index=scores.index)], axis=1)


def _pixels(
    maps: Document | None, places: pd.DataFrame, simulator: Simulator, true: int
) -> dict[str, float]:
    frame = telling_frame(simulator.energies)
    nan = float("nan")
    number = -1 if maps is None else maps["particle"]
    own = (places["particle"] == number) & (places["frame"] == frame)
    at = np.asarray(places.loc[own, ["y", "x"]], np.float64)
    if maps is None or not len(at):
        return {"pixels": 0.0, "pixel_rms": nan, "pixel_median": nan}
    fraction: NDArray[np.float32] = maps["fraction"]
    corner = at[-1:] - (len(fraction) - 1) / 2
    share = torch.from_numpy(simulator.oxidised(frame, true))[None, None]
    wanted = crop(share, torch.from_numpy(corner), len(fraction))[0, 0].numpy()
    # the outermost pixels are mixed with what lies beside them, and have hardly any thickness
    inner = binary_erosion(np.isfinite(wanted), iterations=_RIM_PX) & np.isfinite(fraction)
    error = (fraction - wanted)[inner]
    return {
        "pixels": float(inner.sum()),
        "pixel_rms": float(np.sqrt(np.mean(error**2))),
        "pixel_median": float(np.median(np.abs(error))),
    }


def table(scores: pd.DataFrame, scan: str) -> Table:
    """Lay out the scores of a scan."""
    columns = [
        Column(key, key.replace("_", " "), ".0f" if key in _WHOLE_NUMBERS else ".3f")
        for key in scores.columns
    ]
    rows: Any = scores.to_dict("records")
    return Table(f"{scan}: fractions, 1; edges, eV; radius, px", columns, rows)
