"""Crops of frames with the masks of their particles."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import max_pool2d

IGNORED = 255
"""Value of mask cells of which anything may be said."""
_SEAM = 5  # cells; wider gaps are no seams
_SEAM_WEIGHT = 8.0


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameSet:
    """Crops with their masks; rows belong together.

    Attributes
    ----------
    image : (N, 1, S, S) float16, see `frame_input`.
    mask : (N, 1, S, S) uint8, 1 inside of particles, with a seam of 0 between those that touch, 0
        outside, 255 where there is one that nobody could see.
    """

    image: Tensor
    mask: Tensor


def target_and_weight(mask: Tensor) -> tuple[Tensor, Tensor]:
    """What is to be found, and how much each cell counts.

    Cells of the seams between touching particles count as much as nine others: they are few, but
    without them two particles become one (the weight map of Ronneberger et al. 2015, doi
    10.1007/978-3-319-24574-4_28, with a closing in place of distances).

    Parameters
    ----------
    mask : (B, 1, S, S), see `FrameSet`.

    Returns
    -------
    target : (B, 1, S, S) float32, 0 or 1.
    weight : (B, 1, S, S) float32, 0 where anything may be said.
    """
    known = (mask != IGNORED).float()
    target = torch.where(mask == 1, 1.0, 0.0)
    wide = max_pool2d(target, _SEAM, 1, _SEAM // 2)
    closed = -max_pool2d(-wide, _SEAM, 1, _SEAM // 2)
    return target, known * (1 + _SEAM_WEIGHT * closed * (1 - target))


# Random batches of a training set, turned and mirrored.


class Batches:
    """Endless random batches; every image of a set comes once before any comes again.

    Parameters
    ----------
    arrays : (N, ...) tensors whose rows belong together; images are (N, 1, S, S).
    size : images per batch.
    seed : of the order and the turns.
    device : where batches are put.
    """

    def __init__(
        self, arrays: tuple[Tensor, ...], size: int, seed: int, device: torch.device
    ) -> None:
        if not arrays or not len(arrays[0]):
            raise ValueError("training set: got no images; make a larger set")
        self._arrays, self._size, self._device = arrays, size, device
        self._random = torch.Generator().manual_seed(seed)
        self._order = torch.empty(0, dtype=torch.int64)

    def next(self) -> tuple[Tensor, ...]:
        """A batch of each array; images (B, 1, S, S) float32, all with the same turns."""
        while len(self._order) < self._size:
            further = torch.randperm(len(self._arrays[0]), generator=self._random)
            self._order = torch.cat([self._order, further])
        rows, self._order = self._order[: self._size], self._order[self._size :]
        turn = int(torch.randint(8, (1,), generator=self._random))
        return tuple(
            _turned(array[rows].to(self._device, torch.float32), turn) for array in self._arrays
        )

    def state(self) -> dict[str, Tensor]:
        """What `restore` needs."""
        return {"random": self._random.get_state(), "order": self._order}

    def restore(self, state: dict[str, Tensor]) -> None:
        """Go on with the batch that would have come next."""
        self._random.set_state(state["random"])
        self._order = state["order"]


def _turned(images: Tensor, turn: int) -> Tensor:
    """One of the eight ways to lay a square on itself; whatever is no image stays."""
    if images.ndim < 4:
        return images
    out = torch.rot90(images, turn % 4, (-2, -1))
    return out.flip(-1) if turn >= 4 else out
