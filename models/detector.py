"""The interface of detectors and their registry."""

from __future__ import annotations

from pkgutil import resolve_name
from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    import torch

    from .detections import Detections, Expected
    from .settings import DetectSettings

DETECTORS: dict[str, str] = {
    "networks": "operando.models.networks_detector:NetworksDetector",
    "threshold": "operando.models.threshold:ThresholdDetector",
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
    """A detector that can also look at known particles only; `detect` searches the whole frame.

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
