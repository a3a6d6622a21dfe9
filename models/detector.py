"""The interface of detectors and their registry."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pkgutil import resolve_name
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from .arrays import Array

if TYPE_CHECKING:
    import torch

    from .settings import DetectSettings

DETECTORS: dict[str, str] = {
    "networks": "operando.models.networks.detector:NetworksDetector",
    "threshold": "operando.models.threshold.detector:ThresholdDetector",
}
"""Import strings of the known detectors; each is called as ``cls(settings, device)``."""


@runtime_checkable
class Detector(Protocol):
    """Finds the particles of optical-density frames.

    A detector keeps no memory of earlier frames, and the result for a frame does not depend on
    the frames it is batched with.
    """

    name: str

    def detect(self, od: torch.Tensor, valid: torch.Tensor) -> list[Detections]:
        """Find particles.

        Parameters
        ----------
        od : (B, 1, H, W) float32, optical density.
        valid : (B, 1, H, W) bool, pixels that may be used.

        Returns
        -------
        One `Detections` per frame, in order; empty ones where there is nothing to see.
        """
        ...


@runtime_checkable
class IncrementalDetector(Detector, Protocol):
    """A detector that can also follow known particles only; `detect` searches the whole frame.

    It keeps no memory either: what is known of earlier frames comes as an argument.
    """

    def follow(
        self, od: torch.Tensor, valid: torch.Tensor, expected: Expected
    ) -> Detections | None:
        """Find known particles again, in windows around where they are expected.

        Parameters
        ----------
        od : (1, 1, H, W) float32, optical density. valid : (1, 1, H, W) bool.
        expected : where the N particles were, and how large.

        Returns
        -------
        One detection of each particle, in their order, as a search would find it; None if one of
        them is not there, or not beyond doubt: then the whole frame is searched.
        """
        ...


def make_detector(settings: DetectSettings, device: torch.device) -> Detector:
    """Make the detector that the settings name.

    Parameters
    ----------
    settings : ``settings.kind`` is a key of `DETECTORS` or an import string ``pkg.module:Name``.
    device : where its tensors live.

    Raises
    ------
    ValueError
        If the name is neither known nor importable.
    """
    target = DETECTORS.get(settings.kind, settings.kind)
    try:
        factory = resolve_name(target)
    except (ImportError, AttributeError, ValueError) as error:
        raise ValueError(
            f"detect.kind: wanted one of {sorted(DETECTORS)} or an import string "
            f"'package.module:Name', got {settings.kind!r} ({error})"
        ) from error
    return factory(settings, device)


# What a detector returns.


@dataclass(frozen=True, slots=True, kw_only=True)
class Detections:
    """The particles seen in one frame; row ``i`` has the label ``i + 1``.

    Attributes
    ----------
    labels : (H, W) int32, 0 is background, ``i + 1`` the mask of detection ``i``.
    yx : (N, 2) float64, centre of mass of each mask, px, pixel centres.
    area : (N,) float64, mask area, px^2.
    moments : (N, 3) float64, central second moments (yy, xx, yx) of the mask, px^2.
    bbox : (N, 4) int64, half-open bounds (y0, x0, y1, x1).
    contrast : (N,) float64, mean OD inside minus OD of the local background, OD.
    score : (N,) float64 in 0..1, how sure the detector is.
    cut : (N,) bool, the mask touches the rim of the frame or of the valid area.
    doubt : why the detector does not trust itself in this frame, one word or several with
        underscores (``out_of_distribution``); empty if it does.
    """

    labels: NDArray[np.int32]
    yx: NDArray[np.float64]
    area: NDArray[np.float64]
    moments: NDArray[np.float64]
    bbox: NDArray[np.int64]
    contrast: NDArray[np.float64]
    score: NDArray[np.float64]
    cut: NDArray[np.bool_]
    doubt: str = ""

    def __len__(self) -> int:
        return len(self.yx)

    @classmethod
    def empty(cls, shape: tuple[int, int]) -> Detections:
        """Return the detections of a frame (H, W) that shows no particle."""
        return cls.from_rows(np.zeros(shape, np.int32), [])

    @classmethod
    def from_rows(cls, labels: NDArray[np.int32], rows: Sequence[Sequence[float]]) -> Detections:
        """Make detections of N rows of 13 values: yx, area, moments, bbox, contrast, score, cut."""
        table = np.array(rows, dtype=np.float64).reshape(-1, 13)
        return cls(
            labels=labels,
            yx=table[:, 0:2].copy(),
            area=table[:, 2].copy(),
            moments=table[:, 3:6].copy(),
            bbox=table[:, 6:10].astype(np.int64),
            contrast=table[:, 10].copy(),
            score=table[:, 11].copy(),
            cut=table[:, 12].astype(bool),
        )


def soft_step(value: Array | float, middle: Array | float, width: Array | float) -> Array:
    """Rise from 0 to 1 around a value (logistic), for scores."""
    return 1 / (1 + np.exp(np.clip((middle - value) / np.maximum(width, 1e-9), -50.0, 50.0)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """Particles as they are expected in a frame, from the frames before.

    Particles may be some pixels away from there, as masks wander and what all of them have moved in
    common is known roughly.

    Attributes
    ----------
    centres : (N, 2) float64, (y, x) centres of mass of what the frame shows of them, px.
    diameters : (N,) float64, of the discs of the same area as that, px.
    """

    centres: NDArray[np.float64]
    diameters: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.centres)
