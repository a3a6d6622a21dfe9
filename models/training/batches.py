"""Random batches of a training set, turned and mirrored."""

from __future__ import annotations

import torch
from torch import Tensor


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
