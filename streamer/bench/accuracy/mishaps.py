"""Images that went wrong at the beamline: blank, blurred, or the one before once more."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from ...frames import NamedDocument
from ...simulate import Truth
from ...simulate.documents import IMAGE_KEY

_EVERY = 8
_FIRST = 5
_BLUR_PX = 5.0
_DARK, _READ_NOISE = 100.0, 3.0  # counts, as the simulator's camera has them
Images = NDArray[np.uint16]


def _blank(now: Images, before: Images) -> Images:  # noqa: ARG001 - one signature for all
    """The shutter stayed closed: nothing but the offset and its noise."""
    rng = np.random.default_rng(int(now[0, 0, 0]))
    return rng.normal(_DARK, _READ_NOISE, now.shape).round().astype(np.uint16)


def _blurred(now: Images, before: Images) -> Images:  # noqa: ARG001
    """The sample moved while the image was taken."""
    return np.asarray(gaussian_filter(now, (0, _BLUR_PX, _BLUR_PX)), np.uint16)


def _stale(now: Images, before: Images) -> Images:  # noqa: ARG001
    """The detector sent the buffer of the energy before."""
    return before


_KINDS: tuple[Callable[[Images, Images], Images], ...] = (_blank, _blurred, _stale)


def spoilt_frames(n: int) -> NDArray[np.int64]:
    """Which of the n frames of a run are spoilt."""
    return np.arange(_FIRST, n, _EVERY)


def spoil(documents: Iterator[NamedDocument]) -> Iterator[NamedDocument]:
    """Spoil every eighth sample image of a run: blank, blurred and stale in turn."""
    primary: set[str] = set()
    before: Any = None
    for name, doc in documents:
        if name == "descriptor" and doc["name"] == "primary":
            primary.add(doc["uid"])
        if name != "event" or doc["descriptor"] not in primary:
            yield name, doc
            continue
        now = doc["data"][IMAGE_KEY]
        turn, rest = divmod(doc["seq_num"] - 1 - _FIRST, _EVERY)
        if turn >= 0 and rest == 0:
            images = _KINDS[turn % len(_KINDS)](now, before)
            doc = {**doc, "data": {**doc["data"], IMAGE_KEY: images}}
        before = now
        yield name, doc


def judged_but_spoilt(truth: Truth) -> Truth:
    """Ask for nothing in spoilt frames; what is reported there counts neither way."""
    cut = truth.cut.copy()
    cut[spoilt_frames(truth.n_frames)] = True
    return replace(truth, cut=cut)
