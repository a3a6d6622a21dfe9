"""Masks of one frame against the true silhouettes: what was found, missed and made up.

Found means an intersection over union (IoU) of 0.5 or more, one detection for one particle. Neither
masks nor silhouettes overlap, so that above 0.5 a match is unique (Kirillov et al. 2019,
doi:10.1109/CVPR.2019.00963); the Hungarian assignment settles the ties at 0.5. Hence a match does
not depend on the score of other detections, and one matching serves all thresholds of the score.

Some truths are not asked for (``required`` is False: cut, too small, too faint; the caller says
which): missing them is no miss. A detection that matches no required truth and lies by half or more
on truths that are not asked for is not counted either, as with the crowds of COCO (Lin et al. 2014,
doi:10.1007/978-3-319-10602-1_48).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import linear_sum_assignment

from ....models.arrays import Array
from ....models.detector import Detections

Ints = NDArray[np.int64]
Labels = NDArray[np.integer]
_HALF = 0.5
_HARDLY = 0.25
"""Share of a silhouette that is covered below which it has not been seen at all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MaskMatches:
    """M pairs; rows count from 0, so that row ``i`` has the label ``i + 1``.

    Attributes
    ----------
    detection, truth : (M,) rows. iou : (M,) intersection over union of each pair, 1.
    """

    detection: Ints
    truth: Ints
    iou: Array


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """Detections of one frame, classified.

    Attributes
    ----------
    truth : (M,) rows of the required truths that were found.
    score, iou : (M,) of the detections that match them.
    error : (M, 2) centre of mass of the mask minus the true one, px.
    false_score : (K,) score of the detections that match nothing.
    false_kind : (K,) ``merged`` over two truths or more, ``outline`` of one truth but a poor one,
        ``fragment`` of a truth, or ``background``.
    missed : why each required truth without a match has none: ``merged`` with another in one
        detection, a poor ``outline``, or ``unseen``.
    """

    truth: Ints
    score: Array
    iou: Array
    error: Array
    false_score: Array
    false_kind: NDArray[np.str_]
    missed: tuple[str, ...]

    @property
    def required(self) -> int:
        """Return the number of truths that are asked for."""
        return len(self.score) + len(self.missed)


@dataclass(frozen=True, slots=True, kw_only=True)
class DetectionScore:
    """Detections with a score of `threshold` or more in some frames.

    Attributes
    ----------
    tp, fp, fn : found, made up, missed.
    iou : mean IoU of what was found, 1.
    position_median, position_rms : distance of its centre of mass from the true one, px.
    misses : how many of `fn` by kind, see `Judged.missed`; ``doubted`` are those that were found
        with a lower score.
    made_up : how many of `fp` by kind, see `Judged.false_kind`.
    """

    threshold: float
    tp: int
    fp: int
    fn: int
    iou: float
    position_median: float
    position_rms: float
    misses: Mapping[str, int]
    made_up: Mapping[str, int]

    @property
    def precision(self) -> float:
        """Return the share of counted detections that are particles, 1; NaN if there are none."""
        return _ratio(self.tp, self.tp + self.fp)

    @property
    def recall(self) -> float:
        """Return the share of the required particles that were found, 1; NaN if there are none."""
        return _ratio(self.tp, self.tp + self.fn)

    @property
    def f1(self) -> float:
        """Return the harmonic mean of both, 1; NaN if nothing was asked for and nothing found."""
        return _ratio(2 * self.tp, 2 * self.tp + self.fp + self.fn)

    def summary(self) -> dict[str, Any]:
        """Return plain numbers, for JSON."""
        names = ("threshold", "tp", "fp", "fn", "precision", "recall", "f1", "iou")
        names = (*names, "position_median", "position_rms")
        numbers = {name: getattr(self, name) for name in names}
        return numbers | {"misses": dict(self.misses), "made_up": dict(self.made_up)}


def match_masks(labels: Labels, truth_labels: Labels, iou: float = _HALF) -> MaskMatches:
    """Match masks one to one, the sum of their IoU as large as can be.

    Parameters
    ----------
    labels, truth_labels : (H, W), 0 is background, ``i + 1`` the mask of row ``i``.
    iou : least IoU of a match, 1.

    Raises
    ------
    ValueError
        If the shapes differ, or `iou` is not in 0.5..1.
    """
    return _match(*_overlaps(labels, truth_labels), iou)


def judge(
    detections: Detections,
    truth_labels: Labels,
    truth_yx: ArrayLike,
    required: ArrayLike,
    iou: float = _HALF,
) -> Judged:
    """Classify the detections of one frame.

    Parameters
    ----------
    truth_labels : (H, W), ``i + 1`` is the silhouette of truth ``i``; one that is not in the frame
        has no pixels.
    truth_yx : (T, 2) true centres of mass, px.
    required : (T,) bool, False for truths that are not asked for.
    iou : least IoU of a match, 1.

    Raises
    ------
    ValueError
        As `match_masks`.
    """
    truth_yx = np.asarray(truth_yx, np.float64).reshape(-1, 2)
    wanted = np.asarray(required, bool)
    n, t = len(detections), len(wanted)
    common, areas, true_areas = _overlaps(detections.labels, truth_labels, n, t)
    pairs = _match(common * wanted, areas, true_areas, iou)
    found = np.isin(np.arange(n), pairs.detection)
    excused = (common[:, ~wanted].sum(axis=1) >= _HALF * areas) & (areas > 0)
    false = np.flatnonzero(~found & ~excused)
    lost = np.setdiff1d(np.flatnonzero(wanted), pairs.truth)
    covers = common >= _HALF * np.maximum(true_areas, 1)
    kinds = [_false_kind(int(covers[d].sum()), common[d].sum() / max(areas[d], 1)) for d in false]
    return Judged(
        truth=pairs.truth,
        score=detections.score[pairs.detection],
        iou=pairs.iou,
        error=detections.yx[pairs.detection] - truth_yx[pairs.truth],
        false_score=detections.score[false],
        false_kind=np.array(kinds, dtype=np.str_),
        missed=tuple(_missed_kind(common[:, i], int(true_areas[i]), covers) for i in lost),
    )


def score_detections(frames: Iterable[Judged], threshold: float) -> DetectionScore:
    """Count over frames what has a score of `threshold` or more; the rest was not detected."""
    frames = list(frames)
    score, iou, false = (_all(frames, name) for name in ("score", "iou", "false_score"))
    kinds = np.concatenate([f.false_kind for f in frames]) if frames else np.zeros(0, np.str_)
    error = np.concatenate([f.error for f in frames]) if frames else np.zeros((0, 2))
    taken, wrong = score >= threshold, false >= threshold
    length = np.hypot(*error[taken].T)
    misses = Counter(kind for frame in frames for kind in frame.missed)
    misses["doubted"] += int((~taken).sum())
    some = bool(taken.any())
    return DetectionScore(
        threshold=threshold,
        tp=int(taken.sum()),
        fp=int(wrong.sum()),
        fn=sum(misses.values()),
        iou=float(iou[taken].mean()) if some else float("nan"),
        position_median=float(np.median(length)) if some else float("nan"),
        position_rms=float(np.sqrt(np.mean(length**2))) if some else float("nan"),
        misses={kind: count for kind, count in sorted(misses.items()) if count},
        made_up=dict(sorted(Counter(kinds[wrong].tolist()).items())),
    )


def best_threshold(frames: Sequence[Judged]) -> float:
    """Find the highest threshold of the score with the best F1; 0 without detections."""
    score, false = _all(frames, "score"), _all(frames, "false_score")
    thresholds = np.unique(np.concatenate([score, false]))[::-1]
    if not len(thresholds):
        return 0.0
    tp = (score[:, None] >= thresholds).sum(axis=0)
    fp = (false[:, None] >= thresholds).sum(axis=0)
    f1 = 2 * tp / (tp + fp + max(sum(f.required for f in frames), 1))
    return float(thresholds[f1.argmax()])


def _overlaps(
    labels: Labels, truth_labels: Labels, n: int | None = None, t: int | None = None
) -> tuple[Ints, Ints, Ints]:
    """Count the pixels common to each pair (N, T), and areas (N,), (T,)."""
    if labels.shape != truth_labels.shape:
        raise ValueError(f"labels are {labels.shape}, those of the truth {truth_labels.shape}")
    n = int(labels.max(initial=0)) if n is None else n
    t = int(truth_labels.max(initial=0)) if t is None else t
    pair = labels.astype(np.int64).ravel() * (t + 1) + truth_labels.ravel()
    table = np.bincount(pair, minlength=(n + 1) * (t + 1)).reshape(n + 1, t + 1)
    return table[1:, 1:], table[1:].sum(axis=1), table[:, 1:].sum(axis=0)


def _match(common: Ints, areas: Ints, true_areas: Ints, least: float) -> MaskMatches:
    if not _HALF <= least <= 1:
        raise ValueError(f"iou: wanted 0.5..1, below which a match is not unique, got {least}")
    union = areas[:, None] + true_areas - common
    iou = common / np.maximum(union, 1)
    able = np.where(iou >= least, iou, 0.0)
    rows, columns = linear_sum_assignment(able, maximize=True)
    kept = able[rows, columns] > 0
    rows, columns = rows[kept].astype(np.int64), columns[kept].astype(np.int64)
    return MaskMatches(detection=rows, truth=columns, iou=iou[rows, columns])


def _false_kind(covered: int, inside: float) -> str:
    if covered > 1:
        return "merged"
    if covered == 1:
        return "outline"
    return "fragment" if inside >= _HALF else "background"


def _missed_kind(common: Ints, area: int, covers: NDArray[np.bool_]) -> str:
    if not len(common) or common.sum() < _HARDLY * area:
        return "unseen"
    return "merged" if covers[common.argmax()].sum() > 1 else "outline"


def _all(frames: Sequence[Judged], name: str) -> Array:
    return np.concatenate([getattr(f, name) for f in frames]) if frames else np.zeros(0)


def _ratio(part: int, whole: int) -> float:
    return part / whole if whole else float("nan")
