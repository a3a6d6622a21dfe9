"""A history of translated images, for the discriminators."""

from __future__ import annotations

import torch
from torch import Tensor


class ImagePool:
    """Half of the time hands out an older image, and keeps the new one in its place.

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
