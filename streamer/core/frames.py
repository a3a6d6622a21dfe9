"""References to images, images, and corrected images: all that flows through the core.

Conventions: images are (H, W), chunks (n, H, W), coordinates (y, x) at pixel centres; energies
are eV, exposures and times seconds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Document = dict[str, Any]
NamedDocument = tuple[str, Document]
ChunkPolicy = Literal["mean", "split"]


class DetectionMode(StrEnum):
    """Ways to find the particles of a frame, the best first.

    NETWORKS is the detector that the settings name, CLASSICAL the one without weights; COASTING
    finds none, so that known particles are matched with their templates where they are expected.
    """

    NETWORKS = "networks"
    CLASSICAL = "classical"
    COASTING = "coasting"


@dataclass(frozen=True, slots=True)
class DetectionEffort:
    """Search for the particles of one frame.

    Attributes
    ----------
    mode : that was taken.
    why : reason for which it was not the best one; empty if it was.
    searched : the whole frame was searched, not only where particles are expected.
    """

    mode: DetectionMode = DetectionMode.NETWORKS
    why: str = ""
    searched: bool = True

    @property
    def reason(self) -> str:
        """Return the reason of the frame: ``detector:classical:deadline``, say; empty if well."""
        return f"detector:{self.mode}:{self.why}" if self.why else ""


class Role(StrEnum):
    """Role of an image in a scan."""

    SAMPLE = "sample"
    FLAT = "flat"
    DARK = "dark"


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameKey:
    """The address of one image in the raw data.

    Attributes
    ----------
    run : uid of the raw run.
    stream : name of the stream, e.g. ``primary``.
    data_key : key of the image in the event.
    seq_num : 1-based event number in that stream.
    index : 0-based image in the chunk of that event.
    """

    run: str
    stream: str
    data_key: str
    seq_num: int
    index: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class AssetRef:
    """Pixels that lie in a file.

    Attributes
    ----------
    kind : mimetype of a StreamResource or spec of a Resource; the key of ``ASSET_READERS``.
    uri : ``file://`` URI or path as the document gives it (the IOC's view of the file system).
    parameters : what the reader needs: dataset, chunk_shape, template, swmr, datum_kwargs...
    start, stop : range of images along the first axis of the dataset, in file order.
    run : uid of the raw run; resource : uid of the Resource/StreamResource.
    """

    kind: str
    uri: str
    parameters: Mapping[str, Any] = field(default_factory=dict)
    start: int = 0
    stop: int = 1
    run: str = ""
    resource: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameRef:
    """An image, or a chunk of images of one event, that a document announced.

    Exactly one of `array` (in-line pixels, (H, W) or (n, H, W)) and `asset` is given.

    Attributes
    ----------
    key : address of the first image.
    role : sample, flat or dark.
    energy : eV, None if no document told it.
    exposure : s per image, None if no document told it.
    time : event time, s since the epoch.
    declared : image shape (H, W) that the descriptor declares, None if it declares none.
    chunk : whether the images of one event are averaged or kept apart.
    """

    key: FrameKey
    role: Role
    energy: float | None
    exposure: float | None
    time: float
    array: NDArray[Any] | None = None
    asset: AssetRef | None = None
    declared: tuple[int, int] | None = None
    chunk: ChunkPolicy = "mean"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejected:
    """An announced image that cannot become a frame, and why (`reason` is the ledger's word)."""

    key: FrameKey
    role: Role
    energy: float | None
    time: float
    reason: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """One detector image with its address.

    Attributes
    ----------
    image : (H, W) float32, detector counts (mean over `n_averaged` exposures).
    n_averaged : number of exposures averaged.
    noise : pixel noise of `image`, counts rms, measured from the spread of the exposures of a
        chunk; None if there was only one.
    """

    key: FrameKey
    role: Role
    energy: float | None
    exposure: float | None
    time: float
    image: NDArray[np.float32]
    n_averaged: int = 1
    noise: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class OpticalDensityFrame:
    """One sample frame as optical density.

    Attributes
    ----------
    frame : 0-based count of sample frames in the raw run.
    od : (H, W) float32, optical density; finite everywhere (0 where invalid).
    valid : (H, W) bool, pixels that may be used.
    sigma : typical noise of `od` over valid pixels, rms, OD; NaN if unknown.
    revision : 0 for the first value of a frame, then 1, 2, ...
    provisional : True while the flat of this energy is not known.
    final : True if no further revision can come.
    estimated : True while no flat at all is known, and the pattern of the scintillator is left in.
    blurred : True if nothing shall be measured in it: particles coast.
    effort : how its particles were searched for.
    """

    key: FrameKey
    frame: int
    energy: float | None
    time: float
    od: NDArray[np.float32]
    valid: NDArray[np.bool_]
    sigma: float
    revision: int
    provisional: bool
    final: bool = False
    estimated: bool = False
    blurred: bool = False
    effort: DetectionEffort = field(default_factory=DetectionEffort)
