"""Detection of queued frames in batches."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch

from ..models.detections import Detections
from ..models.detector import Detector
from ..streamer.frames import Corrected
from .raw_run import RawRun


def detect(
    detector: Detector, device: torch.device, frames: Iterable[tuple[RawRun, Corrected]]
) -> dict[int, Detections]:
    """Detections by the identity of the frame; frames of one shape go as one batch.

    Frames for which detection fails are left out, and their runs remark it.
    """
    groups: dict[tuple[int, ...], list[tuple[RawRun, Corrected]]] = {}
    for run, frame in frames:
        groups.setdefault(frame.od.shape, []).append((run, frame))
    found: dict[int, Detections] = {}
    for group in groups.values():
        try:
            found.update(_batch(detector, device, [frame for _, frame in group]))
        except Exception as error:  # noqa: BLE001 - out of memory, say: one by one
            group[0][0].remarks.warn("batches failed", "detection of a batch failed", error)
            for run, frame in group:
                found.update(_alone(detector, device, run, frame))
    return found


def _alone(
    detector: Detector, device: torch.device, run: RawRun, frame: Corrected
) -> dict[int, Detections]:
    try:
        return _batch(detector, device, [frame])
    except Exception as error:  # noqa: BLE001 - the frame is accounted for as failed
        run.remarks.warn("frames failed", f"frame {frame.frame} failed", error)
        return {}


def _batch(
    detector: Detector, device: torch.device, frames: list[Corrected]
) -> dict[int, Detections]:
    od = torch.from_numpy(np.stack([f.od for f in frames]))[:, None].to(device)
    valid = torch.from_numpy(np.stack([f.valid for f in frames]))[:, None]
    detections = detector.detect(od, valid.to(device))
    return dict(zip(map(id, frames), detections, strict=True))
