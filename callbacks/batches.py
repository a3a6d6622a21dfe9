"""Detection of frames in batches."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor

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
        if len(group) == 1:
            found.update(_alone(detector, device, *group[0]))
            continue
        try:
            found.update(_batch(detector, device, [frame for _, frame in group]))
        except Exception as error:  # noqa: BLE001 - out of memory, say: one by one
            what = f"the detector {detector.name} failed on a batch"
            group[0][0].remarks.warn(f"batches on which {detector.name} failed", what, error)
            for run, frame in group:
                found.update(_alone(detector, device, run, frame))
    return found


def tensors(frames: list[Corrected], device: torch.device) -> tuple[Tensor, Tensor]:
    """Optical density (B, 1, H, W) float32 and usable pixels (B, 1, H, W) bool on the device."""
    od = torch.from_numpy(np.stack([f.od for f in frames]))[:, None]
    valid = torch.from_numpy(np.stack([f.valid for f in frames]))[:, None]
    return od.to(device), valid.to(device)


def _alone(
    detector: Detector, device: torch.device, run: RawRun, frame: Corrected
) -> dict[int, Detections]:
    try:
        return _batch(detector, device, [frame])
    except Exception as error:  # noqa: BLE001 - the frame is accounted for as failed
        what = f"the detector {detector.name} failed on frame {frame.frame}"
        run.remarks.warn(f"frames on which {detector.name} failed", what, error)
        return {}


def _batch(
    detector: Detector, device: torch.device, frames: list[Corrected]
) -> dict[int, Detections]:
    detections = detector.detect(*tensors(frames, device))
    return dict(zip(map(id, frames), detections, strict=True))
