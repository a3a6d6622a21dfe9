"""Operations and bytes of one frame, the floor under its time on any device."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

from ....callbacks.processor import StreamProcessor
from ...config import Settings
from ...frames import NamedDocument
from .series import sample_events


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What torch does for one frame.

    Attributes
    ----------
    flops : of convolutions and matrix products, as `torch.utils.flop_counter` counts them.
    bytes : that all its operations read and write, if none is fused with the next.
    """

    flops: float
    bytes: float


class _Traffic(TorchDispatchMode):
    """Adds up the bytes of what operations read and write; views move nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.total = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        if not getattr(func, "is_view", False):
            self.total += sum(
                leaf.numel() * leaf.element_size()
                for leaf in tree_leaves((args, kwargs, out))
                if isinstance(leaf, torch.Tensor)
            )
        return out


def cost_per_frame(documents: Sequence[NamedDocument], settings: Settings) -> Cost:
    """Count over the second half of a run's frames, when its particles are known.

    Counted on the CPU, whatever the settings say; what numpy does is not counted.

    Parameters
    ----------
    documents : of one run, all flats before the sample. settings : of the processor.
    """
    process = settings.process.model_copy(update={"device": "cpu"})
    processor = StreamProcessor(settings.model_copy(update={"process": process}))
    frames = sample_events(documents)
    counted = frames[len(frames) // 2 :]
    processor.process(documents[: counted[0]])
    with FlopCounterMode(display=False) as flops, _Traffic() as traffic:
        for i in counted:
            processor.process([documents[i]])
    processor.close()
    return Cost(flops=flops.get_total_flops() / len(counted), bytes=traffic.total / len(counted))
