"""Repeated, late and blank frames, told before anything is computed from them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from ..correct.illumination import coarsen
from ..frames import Frame, FrameKey
from .settings import QualitySettings

_SAMPLED = 65536  # pixels that are compared; noise makes any two exposures differ in all of them
_REMEMBERED = 5
_NOISE_ONLY = 2.0
_LEAST_FINITE = 0.05  # of the blocks of an image; the light is not told from fewer


@dataclass(frozen=True, slots=True, kw_only=True)
class ArrivalState:
    """What is remembered of the sample frames of a run.

    Attributes
    ----------
    newest : highest (seq_num, index) so far, by stream and data key.
    fingerprint : checksum of the pixels of the last frame, None before the first.
    contrasts : variation of the light over the field in the last good frames, counts/s (counts if
        the exposure is unknown).
    """

    newest: Mapping[tuple[str, str], tuple[int, int]] = field(default_factory=dict)
    fingerprint: int | None = None
    contrasts: tuple[float, ...] = ()


def check_arrival(
    state: ArrivalState, frame: Frame, settings: QualitySettings
) -> tuple[ArrivalState, Verdict]:
    """Judge a sample frame by the frames before it.

    The order is that of the event numbers. Times are not asked: clocks are set back now and then,
    and the frames are in order all the same.

    Returns
    -------
    state : also after a bad frame, of which only the fingerprint is remembered.
    verdict : good, ``duplicate``, ``out_of_order``, ``nan`` or ``blank``.
    """
    mark = _fingerprint(frame.image)
    verdict = _place(state, frame.key, settings)
    before = replace(state, fingerprint=mark)
    if not verdict:
        return before, verdict
    repeats = settings.duplicates and mark == state.fingerprint
    key = frame.key
    newest = {**state.newest, (key.stream, key.data_key): (key.seq_num, key.index)}
    before = replace(before, newest=newest)
    coarse = coarsen(frame.image)
    if np.isfinite(coarse).mean() < _LEAST_FINITE:
        told = "pixels that are not finite are all over the field; check the detector"
        return before, Verdict("nan", told)
    contrast, floor = (v / (frame.exposure or 1.0) for v in _contrast(frame.image, coarse))
    usual = float(np.median(state.contrasts)) if state.contrasts else 0.0
    least = max(settings.blank_contrast * usual, floor)
    if contrast <= least:
        told = f"light varies by {contrast:.3g} counts/s over the field, wanted over {least:.3g}"
        return before, Verdict("blank", f"{told}; is there beam?")
    if repeats:
        told = "its pixels are those of the frame before; did the camera run?"
        return replace(before, newest=state.newest), Verdict("duplicate", told)
    contrasts = (*state.contrasts, contrast)[-_REMEMBERED:]
    return replace(before, contrasts=contrasts), GOOD


def _place(state: ArrivalState, key: FrameKey, settings: QualitySettings) -> Verdict:
    newest = state.newest.get((key.stream, key.data_key), (0, 0))
    here = (key.seq_num, key.index)
    if settings.duplicates and here == newest:
        return Verdict("duplicate", f"event {key.seq_num} has come before")
    if settings.out_of_order and here < newest:
        return Verdict("out_of_order", f"event {key.seq_num} comes after event {newest[0]}")
    return GOOD


def _fingerprint(image: NDArray[np.float32]) -> int:
    step = max(1, image.size // _SAMPLED)
    return crc32(np.ascontiguousarray(image[::step]).tobytes())


def _contrast(image: NDArray[np.float32], coarse: NDArray[np.float32]) -> tuple[float, float]:
    """Variation of the light over the field, counts rms, and what noise alone would make of it."""
    blocks = coarse[np.isfinite(coarse)]
    # a few hot pixels must not make a dark frame look lit
    low, high = np.percentile(blocks, [5, 95]) if blocks.size else (0.0, 0.0)
    step = max(1, image.size // (_SAMPLED // 4))
    difference = np.diff(image[::step], axis=1)
    noise = float(np.nanmedian(np.abs(difference))) / 0.6745 / np.sqrt(2)
    per_block = noise / np.sqrt(max(image.size / max(coarse.size, 1), 1.0))
    # 5 to 95 % of a normal distribution are 3.3 sigma
    return float(high - low) / 3.3, _NOISE_ONLY * per_block


# What is said about the quality of a frame.


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a frame can be used.

    Attributes
    ----------
    reason : the ledger's word as in `Ledger`, empty for a good frame.
    message : what was seen, with its figures, for the operator.
    """

    reason: str = ""
    message: str = ""

    def __bool__(self) -> bool:
        """Whether the frame is good."""
        return not self.reason


GOOD = Verdict()
