"""The detector of Su et al. 2024: a generator finds particles, the Dual U-net draws them."""

from __future__ import annotations

import hashlib
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ..detector import Detections, Expected
from ..masks import fill_defects
from ..settings import DetectSettings
from .confirm import beside_densest, confidence, rims
from .contours import Contours, Tracer
from .nets import DualUNet, Generator, folded, half_pays
from .paint import find_pairs, others, paint, without_duplicates
from .search import FrameFeatures, Search
from .weights import FEATURES, Weights, WeightsError, feature_distance, feature_statistics, fetch

_SIZES = (0.8, 1.2)  # of the least and of the largest diameter that are asked for
_FOLLOWED = (0.7, 1.4)  # found over expected diameter of a particle that is followed
_STRAYED = 0.5  # how far it may be from where the others are, diameters
_SURE = 0.5  # score above which a particle that is followed is beyond doubt
_EMPTY = 0.02  # standard deviation of what the generator sees; 0.008 OD
_OUT = "out_of_distribution"
Network = TypeVar("Network", bound=nn.Module)


class NetworksDetector:
    """Find particles with the networks, and confirms each on the raw optical density.

    The generator's masks at several resolutions give places; the Dual U-net draws the contour of
    the particle at each, in windows that are scaled to its size; the centre of mass of the contour
    is its position (Su et al. 2024, J. Synchrotron Rad. 31, section 2.2). What has no rim on the
    raw frame is dropped: networks can invent particles.

    Parameters
    ----------
    settings : of detection; those of the networks are ``settings.networks``.
    device : where its tensors live.

    Attributes
    ----------
    weights_sha256 : of both files of weights together.

    Raises
    ------
    WeightsError
        If there are no weights, or they are damaged.
    """

    name = "networks"

    def __init__(self, settings: DetectSettings, device: torch.device) -> None:
        s = settings.networks
        self.settings = settings
        self.device = device
        half = half_pays(device) if s.half is None else s.half
        first, second = fetch("generator", s.generator), fetch("dual_unet", s.dual_unet)
        self._known = feature_statistics(first.tensors, device)
        self._search = Search(
            generator=folded(_loaded(Generator, first), device, half=half),
            threshold=s.threshold,
            step=s.step,
            least=settings.min_diameter_px,
            most=settings.max_diameter_px,
            tile=s.tile,
        )
        self._trace = Tracer(network=folded(_loaded(DualUNet, second), device, half=half))
        both = f"{first.sha256} {second.sha256}"
        self.weights_sha256 = hashlib.sha256(both.encode()).hexdigest()

    @torch.inference_mode()
    def detect(self, od: Tensor, valid: Tensor) -> list[Detections]:
        """Find particles; see `Detector.detect`.

        On a CPU frame by frame: a batch is no faster there, and on some processors the last bit of
        a convolution depends on what else is in its batch, while results must not depend on how
        frames have queued up.
        """
        if self.device.type == "cpu" and len(od) > 1:
            pairs = zip(od.split(1), valid.split(1), strict=True)
            return [found for pair in pairs for found in self.detect(*pair)]
        od, valid = self._prepared(od, valid)
        regions, features = self._search(od, valid)
        contours = self._trace(
            od, valid, regions.owner, regions.yx, regions.diameter, regions.probability
        )
        doubts = self._doubts(features)
        return self._rated(contours, (od.shape[-2], od.shape[-1]), doubts)

    @torch.inference_mode()
    def follow(self, od: Tensor, valid: Tensor, expected: Expected) -> Detections | None:
        """Find known particles again; see `IncrementalDetector.follow`."""
        od, valid = self._prepared(od, valid)
        centres, diameters = expected.centres, expected.diameters
        owner = np.zeros(len(expected), np.int64)
        sure = np.ones(len(expected))
        seen = self._trace.once(od, valid, owner, centres, diameters, sure)
        shift = _common_shift(seen, expected)
        if np.hypot(*shift) > 0.1 * diameters.min(initial=np.inf):
            seen = self._trace.once(od, valid, owner, centres + shift, diameters, sure)
        if not _is_where_expected(seen, centres + _common_shift(seen, expected), diameters):
            return None
        (found,) = self._rated(seen, (od.shape[-2], od.shape[-1]), [""])
        if len(found) < len(expected) or (found.score < _SURE).any():
            return None
        return found

    def _prepared(self, od: Tensor, valid: Tensor) -> tuple[Tensor, Tensor]:
        od, valid = od.to(self.device), valid.to(self.device)
        # A finite sum has finite terms, and is much faster than looking at each.
        usable = valid if bool(torch.isfinite(od.sum())) else valid & torch.isfinite(od)
        return (od, usable) if bool(usable.all()) else fill_defects(od, usable)

    def _doubts(self, frames: FrameFeatures) -> list[str]:
        if self._known is None:
            return [""] * len(frames.features)
        far = feature_distance(frames.features, self._known) > self._known["ood.threshold"]
        # an empty frame is not like others, but there is nothing in it to be wrong about
        far &= frames.spread > _EMPTY
        return [_OUT if one else "" for one in far.tolist()]

    def _rated(
        self, contours: Contours, shape: tuple[int, int], doubts: list[str]
    ) -> list[Detections]:
        """Rate contours; return what is confirmed, by frame, in their order."""
        s, diameter = self.settings, contours.diameter
        fits = (diameter >= _SIZES[0] * s.min_diameter_px) & (
            diameter <= _SIZES[1] * s.max_diameter_px
        )
        contours = contours.pick(fits & (contours.presence >= s.networks.min_presence))
        pairs = find_pairs(contours)
        apart = pairs.pick(pairs.inside <= s.networks.max_overlap)
        found = rims(contours, others(contours, apart) > np.maximum(contours.share, 0.5))
        score = confidence(contours, found, s.networks.min_rim)
        score = beside_densest(score, found.contrast, contours.owner, s.min_relative_contrast)
        score[(found.contrast < s.min_contrast) | (score < s.min_score)] = 0.0
        keep = without_duplicates(pairs, score, s.networks.max_overlap)
        rows = [np.flatnonzero(keep & (contours.owner == n)) for n in range(len(doubts))]
        return [
            paint(contours.pick(which), found.pick(which), score[which], shape, doubt)
            for which, doubt in zip(rows, doubts, strict=True)
        ]


def _common_shift(seen: Contours, expected: Expected) -> NDArray[np.float64]:
    """Estimate how far all particles have moved, (2,) px, by the median of those found."""
    there = seen.area > 0
    if not there.any():
        return np.zeros(2)
    return np.median((seen.yx - expected.centres)[there], axis=0)


def _is_where_expected(
    seen: Contours, centres: NDArray[np.float64], diameters: NDArray[np.float64]
) -> bool:
    ratio = seen.diameter / diameters
    away = np.hypot(*(seen.yx - centres).T)
    near = (away < _STRAYED * diameters) & (ratio > _FOLLOWED[0]) & (ratio < _FOLLOWED[1])
    return bool(near.all())


def _loaded(kind: type[Network], weights: Weights) -> Network:
    """Load a network with its weights; what else is in the file is not for it."""
    own = {k: t for k, t in weights.tensors.items() if not k.startswith(FEATURES)}
    try:
        network = kind(**weights.about["arguments"])
        network.load_state_dict(own)
    except (TypeError, RuntimeError) as error:
        raise WeightsError(
            f"weights of the {weights.network}: wanted those of a {kind.__name__} with "
            f"{weights.about['arguments']}, got others ({error})"
        ) from error
    return network
