"""The warm start of the generator: frames with their masks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits as cross_entropy

from ....models.networks.nets import DualUNet, Generator, half_pays
from .job import TrainSettings
from .loop import optimiser, set_rate
from .scores import frame_scores, roi_scores
from .sets import Batches, FrameSet, target_and_weight

_AT_A_TIME = 32
_CLEAN = 1.0  # weight of the first network's loss beside that of the contour
_ROIS_AT_A_TIME = 256
_CERTAIN = 1e-6  # probabilities are taken to be this far from 0 and 1
_SMOOTH = 1.0  # cells; keeps the overlap defined where there is no particle


class PairedTask:
    """Frames to masks, where both are known, before it is adapted without pairs.

    Parameters
    ----------
    train, held_out : made of different scenes.
    width, blocks : of the generator. settings : of the training. device : where it runs.
    """

    aim = "f1"

    def __init__(
        self,
        train: FrameSet,
        held_out: FrameSet,
        settings: TrainSettings,
        device: torch.device,
        width: int = 16,
        blocks: int = 4,
    ) -> None:
        torch.manual_seed(settings.seed)
        self.network = Generator(width, blocks).to(device)
        self.network.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
        self.networks: dict[str, nn.Module] = {"generator": self.network}
        self._optimiser = optimiser(self.network, settings.rate)
        self._batches = Batches((train.image, train.mask), settings.batch, settings.seed, device)
        self._held_out, self._device = held_out, device
        self._half = settings.mixed and half_pays(device)

    def step(self, rate: float) -> Mapping[str, float]:
        """Take one step; see `Task.step`."""
        image, mask = self._batches.next()
        target, weight = target_and_weight(mask)
        self.network.train()
        set_rate(self._optimiser, rate)
        with torch.autocast(self._device.type, torch.bfloat16, enabled=self._half):
            logits = self.network(image.contiguous(memory_format=torch.channels_last))
        loss = mask_loss(logits.float(), target, weight)
        self._optimiser.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
        self._optimiser.step()
        return {"loss": loss.item()}

    def score(self) -> Mapping[str, float]:
        """Scores of the held-out frames, see `frame_scores`, and the loss on them."""
        found = predict(self.network, self._held_out.image, self._device, half=self._half)
        loss = held_out_loss(found, *target_and_weight(self._held_out.mask))
        return {**frame_scores(found, self._held_out.mask), "held_out_loss": loss}

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


def predict(network: nn.Module, images: Tensor, device: torch.device, *, half: bool) -> Tensor:
    """Probability of the mask (N, 1, S, S) float32 of many frames, on the CPU."""
    network.eval()
    found = []
    for some in images.split(_AT_A_TIME):
        image = some.to(device, torch.float32).contiguous(memory_format=torch.channels_last)
        with torch.inference_mode(), torch.autocast(device.type, torch.bfloat16, enabled=half):
            logits = network(image)
        found.append(logits.float().sigmoid().cpu())
    return torch.cat(found)


# Training of the Dual U-net.


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


# Losses of masks and of clean images.


def mask_loss(logits: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    """Cross entropy of each cell plus one minus the soft Dice overlap of each image.

    Milletari et al. 2016 (doi 10.1109/3DV.2016.79) for the overlap, with squares in its
    denominator.

    Parameters
    ----------
    logits, target : (B, 1, H, W) float32; targets 0..1.
    weight : (B, 1, H, W) or (B, 1, 1, 1) float32, 0 where anything may be said.

    Returns
    -------
    () float32.
    """
    weight = weight.expand_as(target)
    entropy = cross_entropy(logits, target, weight=weight, reduction="sum")
    entropy = entropy / weight.sum().clamp_min(1.0)
    inside = logits.sigmoid() * weight
    both = (inside * target).sum((1, 2, 3))
    each = (inside.square() + (target * weight).square()).sum((1, 2, 3))
    dice = (2 * both + _SMOOTH) / (each + _SMOOTH)
    return entropy + (1 - dice).mean()


def held_out_loss(found: Tensor, target: Tensor, weight: Tensor) -> float:
    """`mask_loss` of probabilities instead of logits."""
    return float(mask_loss(found.logit(_CERTAIN), target, weight))


def clean_loss(clean: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    """Mean absolute difference from the particle alone.

    Parameters
    ----------
    clean, target : (B, 1, H, W) float32.
    weight : (B, 1, 1, 1) float32, 0 where anything may be said.
    """
    weight = weight.expand_as(target)
    return ((clean - target).abs() * weight).sum() / weight.sum().clamp_min(1.0)
