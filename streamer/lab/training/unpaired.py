"""Unpaired training of the Cycle-GAN."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import l1_loss, mse_loss

from ....models.networks.nets import Generator, half_pays
from .job import TrainSettings
from .paired import score_frames, set_rate
from .sets import Batches, FrameSet

CYCLE = 10.0
IDENTITY = 5.0
_POOL = 50
_BETAS = (0.5, 0.999)


class CycleTask:
    """Two generators and two discriminators, on frames and masks that do not belong together.

    Least-squares adversarial losses, cycle consistency (weight 10), identity (weight 5) and a pool
    of 50 images, as in Zhu et al. 2017 (doi 10.1109/ICCV.2017.244); Adam with (0.5, 0.999). What is
    kept is decided by the F1 score on held-out frames: adversarial losses do not tell.

    Parameters
    ----------
    frames : (N, 1, S, S) domain A, see `frame_input`.
    masks : (M, 1, S, S) uint8 domain B, clean masks of other scenes.
    held_out : frames with their masks, never trained on.
    start : weights of the forward generator to begin with, from paired training; None for random
        ones.
    """

    aim = "f1"

    def __init__(
        self,
        frames: Tensor,
        masks: Tensor,
        held_out: FrameSet,
        settings: TrainSettings,
        device: torch.device,
        width: int = 16,
        blocks: int = 4,
        start: Mapping[str, Tensor] | None = None,
    ) -> None:
        torch.manual_seed(settings.seed)
        self.to_mask, self.to_frame = Generator(width, blocks), Generator(width, blocks)
        if start is not None:
            self.to_mask.load_state_dict(dict(start))
        self.is_frame, self.is_mask = PatchDiscriminator(), PatchDiscriminator()
        self.networks: dict[str, nn.Module] = {
            "generator": self.to_mask,
            "to_frame": self.to_frame,
            "is_frame": self.is_frame,
            "is_mask": self.is_mask,
        }
        for network in self.networks.values():
            network.to(device).to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
        self._makers = _adam(settings.rate, self.to_mask, self.to_frame)
        self._judges = _adam(settings.rate, self.is_frame, self.is_mask)
        self._frames = Batches((frames,), settings.batch, settings.seed, device)
        self._masks = Batches((masks,), settings.batch, settings.seed + 1, device)
        self._random = torch.Generator().manual_seed(settings.seed + 2)
        self._old_frames = ImagePool(_POOL, self._random)
        self._old_masks = ImagePool(_POOL, self._random)
        self._held_out, self._device = held_out, device
        self._half = settings.mixed and half_pays(device)

    def step(self, rate: float) -> Mapping[str, float]:
        """Take one step of the generators, then one of the discriminators."""
        frame = self._frames.next()[0].contiguous(memory_format=torch.channels_last)
        mask = (2 * self._masks.next()[0] - 1).contiguous(memory_format=torch.channels_last)
        for network in self.networks.values():
            network.train()
        set_rate(self._makers, rate)
        set_rate(self._judges, rate)
        made_frame, made_mask, losses = self._make(frame, mask)
        with torch.autocast(self._device.type, torch.bfloat16, enabled=self._half):
            judged = _judge(self.is_frame, frame, self._old_frames.exchange(made_frame))
            judged = judged + _judge(self.is_mask, mask, self._old_masks.exchange(made_mask))
        self._judges.zero_grad(set_to_none=True)
        judged.backward()
        self._judges.step()
        return {**losses, "judged": judged.item()}

    def _make(self, frame: Tensor, mask: Tensor) -> tuple[Tensor, Tensor, dict[str, float]]:
        """Take one step of the generators; return what they made."""
        for judge in (self.is_frame, self.is_mask):
            judge.requires_grad_(requires_grad=False)
        with torch.autocast(self._device.type, torch.bfloat16, enabled=self._half):
            made_mask = self._translate(self.to_mask, frame)
            made_frame = self._translate(self.to_frame, mask)
            with statistics_kept(self.to_mask), statistics_kept(self.to_frame):
                cycle = l1_loss(self._translate(self.to_frame, made_mask), frame)
                cycle = cycle + l1_loss(self._translate(self.to_mask, made_frame), mask)
                same = l1_loss(self._translate(self.to_mask, mask), mask)
                same = same + l1_loss(self._translate(self.to_frame, frame), frame)
            fooled = _real(self.is_mask(made_mask)) + _real(self.is_frame(made_frame))
            loss = fooled + CYCLE * cycle + IDENTITY * same
        self._makers.zero_grad(set_to_none=True)
        loss.backward()
        self._makers.step()
        for judge in (self.is_frame, self.is_mask):
            judge.requires_grad_(requires_grad=True)
        losses = {"cycle": cycle.item(), "identity": same.item(), "fooled": fooled.item()}
        return made_frame, made_mask, losses

    @staticmethod
    def _translate(generator: nn.Module, image: Tensor) -> Tensor:
        """Translate to -1..1; ``tanh(x / 2)`` is ``sigmoid(x)``, the probability, on that scale."""
        return torch.tanh(generator(image) / 2)

    def score(self) -> Mapping[str, float]:
        """Score the held-out frames, see `score_frames`."""
        return score_frames(self.to_mask, self._held_out, self._device, half=self._half)

    def state(self) -> dict[str, Any]:
        """Return what `restore` needs; see `Task.state`."""
        return {
            "networks": {name: net.state_dict() for name, net in self.networks.items()},
            "makers": self._makers.state_dict(),
            "judges": self._judges.state_dict(),
            "batches": (self._frames.state(), self._masks.state()),
            "pools": (self._old_frames.images, self._old_masks.images),
            "random": self._random.get_state(),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state` returned; see `Task.restore`."""
        for name, network in self.networks.items():
            network.load_state_dict(state["networks"][name])
        self._makers.load_state_dict(state["makers"])
        self._judges.load_state_dict(state["judges"])
        for batches, saved in zip((self._frames, self._masks), state["batches"], strict=True):
            batches.restore(saved)
        for pool, saved in zip((self._old_frames, self._old_masks), state["pools"], strict=True):
            pool.images = [image.to(self._device) for image in saved]
        self._random.set_state(state["random"])


@contextmanager
def statistics_kept(network: nn.Module) -> Iterator[None]:
    """Let batch normalisation use the statistics of its batches, but not remember them.

    At inference a generator only sees images of its own domain: what it is shown besides for the
    cycle and the identity losses must not be part of its running statistics.
    """
    norms = [m for m in network.modules() if isinstance(m, nn.BatchNorm2d)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = 0.0
    try:
        yield
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum


def _adam(rate: float, *networks: nn.Module) -> torch.optim.Adam:
    return torch.optim.Adam([p for n in networks for p in n.parameters()], lr=rate, betas=_BETAS)


def _real(judged: Tensor) -> Tensor:
    return mse_loss(judged, torch.ones_like(judged))


def _judge(network: nn.Module, real: Tensor, made: Tensor) -> Tensor:
    seen, fake = network(real), network(made.to(real.dtype))
    return 0.5 * (_real(seen) + mse_loss(fake, torch.zeros_like(fake)))


# A history of translated images, for the discriminators.


class ImagePool:
    """Hand out an older image half of the time, and keep the new one in its place.

    Discriminators that only see the newest images make the training swing (Shrivastava et al.
    2017, doi 10.1109/CVPR.2017.241; Zhu et al. 2017).

    Parameters
    ----------
    size : images that are kept. random : makes the choices.
    """

    def __init__(self, size: int, random: torch.Generator) -> None:
        self._size, self._random = size, random
        self.images: list[Tensor] = []

    def exchange(self, images: Tensor) -> Tensor:
        """Show images (B, 1, S, S) to the pool; as many come back, new or old."""
        return torch.stack([self._one(image) for image in images.detach()])

    def _one(self, image: Tensor) -> Tensor:
        if len(self.images) < self._size:
            self.images.append(image.clone())  # not a view of its batch
            return image
        if torch.rand((), generator=self._random) < 0.5:
            return image
        place = int(torch.randint(self._size, (), generator=self._random))
        old, self.images[place] = self.images[place], image.clone()
        return old


# The discriminators of the Cycle-GAN.


class PatchDiscriminator(nn.Module):
    """Rate each patch as real or made (PatchGAN).

    Isola et al. 2017 (doi 10.1109/CVPR.2017.632), as used by Zhu et al. 2017 (doi
    10.1109/ICCV.2017.244): strided 4 x 4 convolutions, instance normalisation, leaky rectifiers,
    no sigmoid (least-squares adversarial loss).

    Parameters
    ----------
    width : channels after the first layer. layers : stride-2 layers; two see patches of 34 x 34.
    """

    def __init__(self, width: int = 16, layers: int = 2) -> None:
        super().__init__()
        parts: list[nn.Module] = [nn.Conv2d(1, width, 4, 2, 1), nn.LeakyReLU(0.2, inplace=True)]
        channels = width
        for layer in range(1, layers + 1):
            wider = min(2 * channels, 8 * width)
            parts += [
                nn.Conv2d(channels, wider, 4, 2 if layer < layers else 1, 1, bias=False),
                nn.InstanceNorm2d(wider),
                nn.LeakyReLU(0.2, inplace=True),
            ]
            channels = wider
        self.layers = nn.Sequential(*parts, nn.Conv2d(channels, 1, 4, 1, 1))

    def forward(self, image: Tensor) -> Tensor:
        """Rate patches.

        Parameters
        ----------
        image : (B, 1, H, W), -1..1.

        Returns
        -------
        (B, 1, h, w), 1 for real and 0 for translated patches.
        """
        return self.layers(image)
