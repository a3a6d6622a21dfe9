"""Spectra and maps of a simulated scan against what the simulator mixed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from scipy.ndimage import binary_erosion

from ...callbacks import StreamProcessor
from ...models.warp import crop
from ..config import Settings
from ..errors import FrameError
from ..frames import Document
from ..simulate import SimSettings, Simulator, simulate_documents
from ..simulate.spectra import EDGE_REGION, OXIDISED, REDUCED, absorption
from ..xanes.curve import make_curve
from ..xanes.edge import find_edges

Array = NDArray[np.float64]
_LARGEST_DISTANCE_PX = 5.0


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

    def newest(self, stream: str) -> pd.DataFrame:
        """The last row of each particle and frame."""
        if stream not in self.rows:
            raise FrameError(f"nothing was told of {stream}")
        rows = pd.DataFrame(self.rows[stream])
        return rows.drop_duplicates(["particle", "frame"], keep="last").sort_values("frame")


def measure(
    simulated: SimSettings, settings: Settings, progress: Callable[[], object] = lambda: None
) -> pd.DataFrame:
    """Send one simulated scan through a processor, and judge its chemistry.

    Parameters
    ----------
    simulated : the scan. settings : of the processor, with the references of the simulator.
    progress : is called after each document.

    Returns
    -------
    A row for each particle: `fraction` told and `true_fraction` while the edge was crossed, its
    error and the error bar, the same of the edge energy, eV, and `pixel_rms`, of the map of
    fractions over the pixels of the silhouette but for its outermost two.

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
    spectra, places = results.newest("spectra"), results.newest("particles")
    edges = _true_edges(simulator, settings)
    rows = []
    for particle, spectrum in spectra.groupby("particle"):
        own = places[places["particle"] == particle].set_index("frame")
        truth = _match(own, simulator)
        if truth is not None:
            last = spectrum.iloc[-1]
            maps = results.maps.get(int(particle))
            pixels = {} if maps is None else _pixels(maps["fraction"], own, simulator, truth)
            rows.append({**_judged(last, simulator, truth, edges[truth]), **pixels})
    return pd.DataFrame(rows)


def _middle(simulator: Simulator) -> int:
    """The frame whose energy tells the two phases apart best."""
    e = simulator.energies
    return int(np.argmax(np.abs(absorption(e, REDUCED) - absorption(e, OXIDISED))))


def _true_edges(simulator: Simulator, settings: Settings) -> Array:
    """Edge energies (P,) of the spectra without noise, read off as ours are."""
    truth = simulator.truth
    curve = make_curve(truth.energies, sum(EDGE_REGION) / 2 - 5.0, settings.xanes)
    if curve is None:
        raise FrameError("the simulated scan does not span the edge")
    return find_edges(curve, truth.od, 0.0).energy


def _match(own: pd.DataFrame, simulator: Simulator) -> int | None:
    """The true particle that is nearest in the median."""
    true = simulator.truth.yx[own.index.to_numpy()]
    offset = own[["y", "x"]].to_numpy()[:, None] - true
    distance = np.nanmedian(np.linalg.norm(offset, axis=2), axis=0)
    nearest = int(np.argmin(distance))
    return nearest if distance[nearest] <= _LARGEST_DISTANCE_PX else None


def _judged(row: Any, simulator: Simulator, truth: int, edge: float) -> dict[str, float]:
    share = float(simulator.truth.fraction[_middle(simulator), truth])
    return {
        "true": truth,
        "radius": float(simulator.truth.radius[truth]),
        "n_energies": int(row["n_energies"]),
        "fraction": float(row["fraction"]),
        "true_fraction": share,
        "fraction_error": float(row["fraction"]) - share,
        "fraction_sigma": float(row["fraction_sigma"]),
        "edge_error": float(row["edge_energy"]) - edge,
        "edge_sigma": float(row["edge_energy_sigma"]),
    }


def _pixels(
    fraction: NDArray[np.float32], own: pd.DataFrame, simulator: Simulator, truth: int
) -> dict[str, float]:
    frame = _middle(simulator)
    if frame not in own.index:
        return {}
    place, side = own.loc[frame, ["y", "x"]].to_numpy(np.float64), len(fraction)
    share = simulator.oxidised(frame, truth)
    corner = torch.from_numpy((place - (side - 1) / 2)[None])
    wanted = crop(torch.from_numpy(share)[None, None], corner, side)[0, 0].numpy()
    # the outermost pixels are mixed with what lies beside them, and have hardly any thickness
    inner = binary_erosion(np.isfinite(wanted), iterations=2) & np.isfinite(fraction)
    error = (fraction - wanted)[inner]
    return {
        "pixel_rms": float(np.sqrt(np.mean(error**2))),
        "pixel_median": float(np.median(np.abs(error))),
        "pixels": float(inner.sum()),
    }
