"""Spectra and maps of a simulated scan against what the simulator mixed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from scipy.ndimage import binary_erosion

from ....callbacks import StreamProcessor
from ....models.warp import crop
from ...config import Settings
from ...core.frames import Document
from ...errors import FrameError
from ..evaluate.chemistry import score_chemistry, telling_frame
from ..simulate import SimSettings, Simulator, simulate_documents

_RIM_PX = 2


@dataclass(slots=True)
class _Results:
    """Rows of the result run by stream, and the maps told last."""

    rows: dict[str, list[Document]] = field(default_factory=dict)
    maps: dict[int, Document] = field(default_factory=dict)
    _streams: dict[str, str] = field(default_factory=dict)

    def __call__(self, name: str, doc: Document) -> None:
        if name == "descriptor":
            self._streams[doc["uid"]] = doc["name"]
        elif name == "event":
            stream, data = self._streams[doc["descriptor"]], doc["data"]
            if stream == "maps":
                self.maps[data["particle"]] = data
            plain = {k: v for k, v in data.items() if not isinstance(v, np.ndarray)}
            self.rows.setdefault(stream, []).append(plain)


def measure_chemistry(
    simulated: SimSettings, settings: Settings, progress: Callable[[], object] = lambda: None
) -> pd.DataFrame:
    """Send one simulated scan through a processor, and judge its chemistry.

    Parameters
    ----------
    simulated : the scan. settings : of the processor, with the references of the simulator.
    progress : is called after each document.

    Returns
    -------
    What `score_chemistry` says of each particle, with `pixels` of its silhouette but for its
    outermost two, and of these `pixel_rms` and `pixel_median` of the error of the fraction.

    Raises
    ------
    FrameError
        If no spectrum was told.
    """
    simulator, results = Simulator(simulated), _Results()
    processor = StreamProcessor(settings)
    processor.subscribe(results)
    for name, doc in simulate_documents(simulator=simulator, order="fxi"):
        processor(name, doc)
        progress()
    processor.close()
    if "spectra" not in results.rows:
        raise FrameError("no spectrum was told: are xanes.enabled and the detector as they should?")
    spectra, places = (pd.DataFrame(results.rows[name]) for name in ("spectra", "particles"))
    scores = score_chemistry(spectra, places, simulator.truth, settings.xanes)
    told = [
        _pixels(results.maps.get(particle), places, simulator, true)
        for particle, true in scores[["particle", "true"]].to_numpy(np.int64).tolist()
    ]
    return pd.concat([scores, pd.DataFrame(told, index=scores.index)], axis=1)


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
