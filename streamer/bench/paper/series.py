"""One synthetic set in memory: its documents, its frames, its truth."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ...config import Settings
from ...evaluate.raw import od_stack
from ...evaluate.similarity import adjacent_ssim
from ...frames import NamedDocument
from ...simulate import SimSettings, Simulator, Truth, simulate_documents

Images = NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """F frames (H, W) of P particles, the same for every method.

    Attributes
    ----------
    simulator : that made it.
    documents : of the run, all flats before the sample.
    od : (F, H, W) optical density as measured, NaN where invalid; what the peers get.
    clean : (F, H, W) optical density without noise, on which similarity is measured once more.
    oracle, oracle_clean : (F - 1, P) SSIM of adjacent ROIs aligned by the truth.
    """

    simulator: Simulator
    documents: tuple[NamedDocument, ...]
    od: Images
    clean: Images
    oracle: Images
    oracle_clean: Images

    @property
    def truth(self) -> Truth:
        """Where everything really was."""
        return self.simulator.truth


def make_series(
    simulated: SimSettings, settings: Settings, progress: Callable[[], object] = lambda: None
) -> Series:
    """Simulate a set.

    Parameters
    ----------
    simulated : of the microscope. settings : whose `assemble` and `correct` make the frames.
    progress : is called for each image that is made.
    """
    simulator = Simulator(simulated)
    documents = documents_of(simulator, progress)
    od = od_stack(documents, settings)
    clean = np.empty_like(od)
    for frame in range(simulator.n_frames):
        clean[frame] = np.where(np.isfinite(od[frame]), simulator.od(frame), np.nan)
        progress()
    truth = simulator.truth
    best = np.where(truth.whole[..., None], truth.yx, np.nan)
    return Series(
        simulator=simulator,
        documents=documents,
        od=od,
        clean=clean,
        oracle=adjacent_ssim(od, best, truth.radius),
        oracle_clean=adjacent_ssim(clean, best, truth.radius),
    )


def documents_of(
    simulator: Simulator, progress: Callable[[], object] = lambda: None
) -> tuple[NamedDocument, ...]:
    """All documents of a run, the flats first; `progress` is called for each image."""
    documents: list[NamedDocument] = []
    for name, doc in simulate_documents(order="flat_first", simulator=simulator):
        documents.append((name, doc))
        if name == "event":
            progress()
    return tuple(documents)


def sample_events(documents: Sequence[NamedDocument]) -> list[int]:
    """Tell which documents of a run hold an image of the sample."""
    descriptors = [doc for name, doc in documents if name == "descriptor"]
    primary = {doc["uid"] for doc in descriptors if doc["name"] == "primary"}
    return [
        number
        for number, (name, doc) in enumerate(documents)
        if name == "event" and doc["descriptor"] in primary
    ]
