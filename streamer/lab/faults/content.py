"""Spoil the data of an event, its image or the reading of its energy, or its message."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...core.assemble.values import MalformedDocument, pixels, positive, scaled_energy
from ...core.frames import Document
from ...io.wire.message import pack
from .script import BeamLoss, Blank, Corrupt, EnergyJump, FieldJump, Nan, Saturated
from .state import EVENTS, Subject, data_of, with_value

Pixels = NDArray[Any]
ImageFault = Nan | Saturated | Blank | BeamLoss | FieldJump
_WIDEST = 65535.0  # counts: of a 16-bit camera, where the dtype does not limit them


def changed(
    fault: ImageFault | EnergyJump, subject: Subject, doc: Document, rng: np.random.Generator
) -> Document | None:
    """Return a copy of an event with the fault in it; None if it has nothing to put it in."""
    if subject.name not in EVENTS or subject.stream is None:
        return None
    if isinstance(fault, EnergyJump):
        return _other_energy(fault, subject, doc)
    data = data_of(subject.name, doc)
    image = subject.stream.image
    if image is None or image.name not in data or isinstance(data[image.name], str):
        return None
    try:
        counts = pixels(data[image.name])
    except MalformedDocument:
        return None
    return with_value(
        subject.name, doc, image.name, _IMAGE[fault.kind](fault, subject, counts, rng)
    )


def _other_energy(fault: EnergyJump, subject: Subject, doc: Document) -> Document | None:
    source = subject.stream.energy if subject.stream is not None else None
    if source is None or source.key is None:
        return None
    value = positive(data_of(subject.name, doc).get(source.key))
    if value is None:
        return None
    scale = scaled_energy(value, source.scale) / value
    return with_value(subject.name, doc, source.key, value + fault.offset_ev / scale)


def _nan(fault: Nan, _: Subject, counts: Pixels, rng: np.random.Generator) -> Pixels:
    image = counts.astype(np.float32)
    image[rng.random(image.shape) < fault.fraction] = np.nan
    return image


def _saturated(fault: Saturated, _: Subject, counts: Pixels, __: np.random.Generator) -> Pixels:
    whole = counts.dtype.kind in "iu"
    level = fault.level or (float(np.iinfo(counts.dtype).max) if whole else _WIDEST)
    image = counts.copy()
    number = max(1, round(fault.fraction * image.size))
    brightest = np.argpartition(image, image.size - number, axis=None)[image.size - number :]
    image.reshape(-1)[brightest] = _fitting(np.array(level), counts.dtype)
    return image


def _blank(fault: Blank, _: Subject, counts: Pixels, rng: np.random.Generator) -> Pixels:
    return _fitting(rng.normal(fault.level, fault.noise, counts.shape), counts.dtype)


def _beam_loss(
    fault: BeamLoss, subject: Subject, counts: Pixels, rng: np.random.Generator
) -> Pixels:
    first, last = fault.seq_num or (1, 1)
    number = subject.seq_num or first
    inside = min(number - first, last - number) + 1
    lost = (1.0 - fault.left) * min(1.0, inside / (fault.ramp + 1))
    light = (1.0 - lost) * (counts - fault.dark_level)
    noise = lost * rng.normal(0.0, fault.noise, counts.shape)
    return _fitting(fault.dark_level + light + noise, counts.dtype)


def _field_jump(fault: FieldJump, _: Subject, counts: Pixels, __: np.random.Generator) -> Pixels:
    height, width = counts.shape[-2:]
    rows = np.clip(np.arange(height) - fault.dy, 0, height - 1)
    columns = np.clip(np.arange(width) - fault.dx, 0, width - 1)
    return counts[..., rows[:, None], columns]


def _fitting(values: NDArray[np.float64], dtype: np.dtype[Any]) -> Pixels:
    """Return values in the dtype of the camera, cut off at its ends."""
    if dtype.kind not in "iu":
        return values.astype(dtype)
    ends = np.iinfo(dtype)
    return np.clip(np.rint(values), ends.min, ends.max).astype(dtype)


_IMAGE: Mapping[str, Callable[..., Pixels]] = {
    "nan": _nan,
    "saturated": _saturated,
    "blank": _blank,
    "beam_loss": _beam_loss,
    "field_jump": _field_jump,
}


def damaged(fault: Corrupt, name: str, doc: Document, rng: np.random.Generator) -> bytes:
    """Return the damaged message of a document.

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
