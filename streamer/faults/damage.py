"""Messages that are damaged on the wire."""

from __future__ import annotations

import numpy as np

from ..frames import Document
from ..wire import pack
from .script import Corrupt


def damaged(fault: Corrupt, name: str, doc: Document, rng: np.random.Generator) -> bytes:
    """Return the message of a document as it arrives, damaged.

    Raises
    ------
    BadMessageError
        The document has no message: it holds something that cannot be sent.
    """
    message = pack(name, doc)
    if fault.mode == "truncate":
        return message[: int(rng.integers(0, len(message)))]
    if fault.mode == "garbage":
        return rng.bytes(len(message))
    if fault.mode == "name":
        return message.replace(name.encode(), rng.bytes(2).hex().encode(), 1)
    return _flipped(message, fault.bits, rng)


def _flipped(message: bytes, bits: int, rng: np.random.Generator) -> bytes:
    places = rng.choice(8 * len(message), size=min(bits, 8 * len(message)), replace=False)
    out = np.frombuffer(message, np.uint8).copy()
    np.bitwise_xor.at(out, places // 8, (1 << (places % 8)).astype(np.uint8))
    return out.tobytes()
