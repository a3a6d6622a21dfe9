"""Memory of the GPUs that this process uses."""

from __future__ import annotations

from .families import Family


def gpu_families() -> list[Family]:
    """Memory of each GPU in use; without one, the families have no numbers."""
    return [
        Family(
            name="operando_gpu_memory_allocated_bytes",
            help="Memory that tensors take, by CUDA device",
            label="device",
            read=lambda: _by_device("memory_allocated"),
        ),
        Family(
            name="operando_gpu_memory_reserved_bytes",
            help="Memory that is held for tensors, by CUDA device",
            label="device",
            read=lambda: _by_device("memory_reserved"),
        ),
    ]


def _by_device(question: str) -> dict[str, float]:
    import torch

    if not torch.cuda.is_initialized():  # asking would claim some hundred MB of a GPU
        return {}
    ask = getattr(torch.cuda, question)
    return {f"cuda:{n}": float(ask(n)) for n in range(torch.cuda.device_count())}
