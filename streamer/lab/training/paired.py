"""Training with known targets: the warm start of the generator, and the Dual U-net."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits as cross_entropy

from ....models.networks.nets import DualUNet, Generator, half_pays
from .job import TrainSettings
from .sets import Batches, FrameSet, RoiSet, frame_scores, roi_scores, target_and_weight

_FRAMES_AT_A_TIME, _ROIS_AT_A_TIME = 32, 256
_CLEAN = 1.0  # weight of the first network's loss beside that of the contour; by eye
_CERTAIN = 1e-6  # probabilities are taken to be this far from 0 and 1
_SMOOTH = 1.0  # cells; keeps the overlap defined where there is no particle


class _SupervisedTask:
    """One network that is trained on pairs; see `Task`."""

    def __init__(
        self,
        name: str,
        network: nn.Module,
        arrays: tuple[Tensor, ...],
        settings: TrainSettings,
        device: torch.device,
    ) -> None:
        self.network = network.to(device)
        self.network.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
        self.networks: dict[str, nn.Module] = {name: self.network}
        self._optimiser = _optimiser(self.network, settings.rate)
        self._batches = Batches(arrays, settings.batch, settings.seed, device)
        self._device = device
        self._half = settings.mixed and half_pays(device)

    def _forward(self, images: Tensor) -> Any:
        self.network.train()
        with torch.autocast(self._device.type, torch.bfloat16, enabled=self._half):
            return self.network(images.contiguous(memory_format=torch.channels_last))

    def _descend(self, loss: Tensor, rate: float) -> None:
        set_rate(self._optimiser, rate)
        self._optimiser.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
        self._optimiser.step()

    def state(self) -> dict[str, Any]:
        """Return what `restore` needs; see `Task.state`."""
        return {
            "network": self.network.state_dict(),
            "optimiser": self._optimiser.state_dict(),
            "batches": self._batches.state(),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state` returned; see `Task.restore`."""
        self.network.load_state_dict(state["network"])
        self._optimiser.load_state_dict(state["optimiser"])
        self._batches.restore(state["batches"])


class PairedTask(_SupervisedTask):
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
        arrays = (train.image, train.mask)
        super().__init__("generator", Generator(width, blocks), arrays, settings, device)
        self._held_out = held_out

    def step(self, rate: float) -> Mapping[str, float]:
        """Take one step; see `Task.step`."""
        image, mask = self._batches.next()
        target, weight = target_and_weight(mask)
        loss = mask_loss(self._forward(image).float(), target, weight)
        self._descend(loss, rate)
        return {"loss": loss.item()}

    def score(self) -> Mapping[str, float]:
        """Score the held-out frames, see `score_frames`."""
        return score_frames(self.network, self._held_out, self._device, half=self._half)


class DualTask(_SupervisedTask):
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
        arrays = (train.roi, train.clean, train.mask, train.weight)
        super().__init__("dual_unet", DualUNet(width), arrays, settings, device)
        self._held_out = held_out

    def step(self, rate: float) -> Mapping[str, float]:
        """Take one step; see `Task.step`."""
        roi, clean, mask, weight = self._batches.next()
        drawn, logits = self._forward(roi)
        first = clean_loss(drawn.float(), clean, weight)
        second = mask_loss(logits.float(), mask, weight)
        loss = _CLEAN * first + second
        self._descend(loss, rate)
        return {"loss": loss.item(), "clean": first.item(), "mask": second.item()}

    def score(self) -> Mapping[str, float]:
        """Score the held-out ROIs, see `roi_scores`, with the contour's loss on them."""
        rois = self._held_out.roi.split(_ROIS_AT_A_TIME)
        found = torch.cat([_predict(self.network, r, self._device, half=self._half) for r in rois])
        keep = self._held_out.weight[:, 0, 0, 0] > 0
        probability, mask = found[keep], self._held_out.mask[keep]
        loss = held_out_loss(probability, mask.float(), self._held_out.weight[keep])
        return {**roi_scores(probability, mask), "held_out_loss": loss}


def score_frames(
    network: nn.Module, held_out: FrameSet, device: torch.device, *, half: bool
) -> dict[str, float]:
    """Score a generator on held-out frames, see `frame_scores`, with the loss on them."""
    frames = held_out.image.split(_FRAMES_AT_A_TIME)
    found = torch.cat([_predict(network, some, device, half=half) for some in frames])
    loss = held_out_loss(found, *target_and_weight(held_out.mask))
    return {**frame_scores(found, held_out.mask), "held_out_loss": loss}


def _predict(network: nn.Module, images: Tensor, device: torch.device, *, half: bool) -> Tensor:
    """Predict the probability of the mask (N, 1, S, S) float32, on the CPU."""
    network.eval()
    image = images.to(device, torch.float32).contiguous(memory_format=torch.channels_last)
    with torch.inference_mode(), torch.autocast(device.type, torch.bfloat16, enabled=half):
        found = network(image)
    logits = found[1] if isinstance(found, tuple) else found
    return logits.float().sigmoid().cpu()


def _optimiser(network: nn.Module, rate: float) -> torch.optim.AdamW:
    """Set up AdamW (Loshchilov & Hutter 2019, arXiv 1711.05101); no decay of biases and norms."""
    decayed = [p for p in network.parameters() if p.ndim > 1]
    free = [p for p in network.parameters() if p.ndim <= 1]
    groups = [{"params": decayed, "weight_decay": 1e-3}, {"params": free, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=rate)


def set_rate(optimiser: torch.optim.Optimizer, rate: float) -> None:
    """Set the learning rate of all groups."""
    for group in optimiser.param_groups:
        group["lr"] = rate


# Losses of masks and of clean images.


def mask_loss(logits: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    """Add the cross entropy of each cell and one minus the soft Dice overlap of each image.

    Milletari et al. 2016 (doi 10.1109/3DV.2016.79) for the overlap, with squares in its
    denominator.

    Parameters
    ----------
    logits, target : (B, 1, H, W) float32; targets 0..1.
    weight : (B, 1, H, W) or (B, 1, 1, 1) float32, 0 where nothing counts.

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
    """Compute `mask_loss` of probabilities instead of logits."""
    return float(mask_loss(found.logit(_CERTAIN), target, weight))


def clean_loss(clean: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    """Average the absolute difference from the particle alone.

    Parameters
    ----------
    clean, target : (B, 1, H, W) float32.
    weight : (B, 1, 1, 1) float32, 0 where nothing counts.
    """
    weight = weight.expand_as(target)
    return ((clean - target).abs() * weight).sum() / weight.sum().clamp_min(1.0)
