"""The warm start of the generator: frames with their masks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from ..networks.folded import half_pays
from ..networks.generator import Generator
from .batches import Batches
from .frame_score import frame_scores
from .frame_set import FrameSet, target_and_weight
from .losses import held_out_loss, mask_loss
from .optimiser import optimiser, set_rate
from .settings import TrainSettings

_AT_A_TIME = 32


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
