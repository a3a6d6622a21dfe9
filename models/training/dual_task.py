"""Training of the Dual U-net."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ..networks.dual_unet import DualUNet
from ..networks.folded import half_pays
from .batches import Batches
from .losses import clean_loss, held_out_loss, mask_loss
from .optimiser import optimiser, set_rate
from .roi_score import roi_scores
from .settings import TrainSettings

_CLEAN = 1.0  # weight of the first network's loss beside that of the contour
_ROIS_AT_A_TIME = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class RoiSet:
    """ROIs with their targets.

    Attributes
    ----------
    roi : (N, 1, 64, 64) float16, standardised, see `roi_input`.
    clean : (N, 1, 64, 64) float16, the particle alone, 0 outside, about 1 where it is thickest.
    mask : (N, 1, 64, 64) uint8, silhouette of the particle in the middle; empty if there is none.
    weight : (N, 1, 1, 1) float32, 0 for particles that nobody could see.
    """

    roi: Tensor
    clean: Tensor
    mask: Tensor
    weight: Tensor


class DualTask:
    """Both U-nets at once, each with its own loss.

    Parameters
    ----------
    train, held_out : made of different scenes.
    width : of the networks. settings : of the training. device : where it runs.
    """

    aim = "quality"

    def __init__(
        self,
        train: RoiSet,
        held_out: RoiSet,
        settings: TrainSettings,
        device: torch.device,
        width: int = 8,
    ) -> None:
        torch.manual_seed(settings.seed)
        self.network = DualUNet(width).to(device)
        self.network.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
        self.networks: dict[str, nn.Module] = {"dual_unet": self.network}
        self._optimiser = optimiser(self.network, settings.rate)
        arrays = (train.roi, train.clean, train.mask, train.weight)
        self._batches = Batches(arrays, settings.batch, settings.seed, device)
        self._held_out, self._device = held_out, device
        self._half = settings.mixed and half_pays(device)

    def step(self, rate: float) -> Mapping[str, float]:
        """Take one step; see `Task.step`."""
        roi, clean, mask, weight = self._batches.next()
        self.network.train()
        set_rate(self._optimiser, rate)
        with torch.autocast(self._device.type, torch.bfloat16, enabled=self._half):
            seen, logits = self.network(roi.contiguous(memory_format=torch.channels_last))
        first = clean_loss(seen.float(), clean, weight)
        second = mask_loss(logits.float(), mask, weight)
        loss = _CLEAN * first + second
        self._optimiser.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
        self._optimiser.step()
        return {"loss": loss.item(), "clean": first.item(), "mask": second.item()}

    def score(self) -> Mapping[str, float]:
        """Scores of the held-out ROIs, see `roi_scores`, and the contour's loss on them."""
        self.network.eval()
        found = []
        for roi in self._held_out.roi.split(_ROIS_AT_A_TIME):
            with (
                torch.inference_mode(),
                torch.autocast(self._device.type, torch.bfloat16, enabled=self._half),
            ):
                image = roi.to(self._device, torch.float32)
                _, logits = self.network(image.contiguous(memory_format=torch.channels_last))
            found.append(logits.float().sigmoid().cpu())
        keep = self._held_out.weight[:, 0, 0, 0] > 0
        probability, mask = torch.cat(found)[keep], self._held_out.mask[keep]
        loss = held_out_loss(probability, mask.float(), self._held_out.weight[keep])
        return {**roi_scores(probability, mask), "held_out_loss": loss}

    def state(self) -> dict[str, Any]:
        """See `Task.state`."""
        return {
            "network": self.network.state_dict(),
            "optimiser": self._optimiser.state_dict(),
            "batches": self._batches.state(),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """See `Task.restore`."""
        self.network.load_state_dict(state["network"])
        self._optimiser.load_state_dict(state["optimiser"])
        self._batches.restore(state["batches"])
