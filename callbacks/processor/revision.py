"""Looks at all frames of a run again when it has stopped."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...streamer.core.frames import OpticalDensityFrame
from ...streamer.core.pipeline.branch import FrameRecord
from ...streamer.core.pipeline.pipeline import Pipeline, PipelineState
from ...streamer.core.pipeline.second_pass import Scan, reregister_scan
from ...streamer.core.register.settings import RegisterSettings
from ...streamer.core.results import FrameResult
from ...streamer.io.checkpoint import Blobs, decode, encode
from ...streamer.io.checkpoint.files import pack_tree, unpack_tree
from ...streamer.io.frame_store import FrameStore
from .chemistry import Chemistry
from .run import RawRun

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Masks:
    """Labels (H, W) as runs of equal pixels, row by row: where each begins, and its label.

    A hundredth of their size, and far faster than a general compression.
    """

    begins: NDArray[np.uint32]
    values: NDArray[np.int32]
    shape: tuple[int, int]

    @classmethod
    def of(cls, labels: NDArray[np.int32]) -> _Masks:
        flat = labels.ravel()
        begins = np.append(0, np.flatnonzero(flat[1:] != flat[:-1]) + 1)
        height, width = labels.shape
        return cls(begins.astype(np.uint32), flat[begins], (height, width))

    def labels(self) -> NDArray[np.int32]:
        ends = np.append(self.begins[1:], self.shape[0] * self.shape[1])
        return np.repeat(self.values, ends - self.begins).reshape(self.shape)


@dataclass(frozen=True, slots=True)
class _Kept:
    record: FrameRecord
    masks: _Masks
    written: list[bytes] = field(default_factory=list, compare=False)

    def packed(self) -> bytes:
        """For a checkpoint; made once, as there is one of each frame in all checkpoints."""
        if not self.written:
            self.written.append(pack_tree(encode((self.record, self.masks))))
        return self.written[0]

    @classmethod
    def unpacked(cls, data: bytes) -> _Kept:
        """Out of a checkpoint."""
        record, masks = decode(unpack_tree(data))
        return cls(record, masks, [data])


class Rescan:
    """Keeps the frames of runs that go on, and makes their revised results at the end.

    Parameters
    ----------
    settings : of registration.
    device : where images are resampled.
    store : for the frames as optical density; what it has given up is not revised.
    """

    def __init__(self, settings: RegisterSettings, device: torch.device, store: FrameStore) -> None:
        self._settings = settings
        self._device = device
        self._store = store
        self._runs: dict[str, dict[int, _Kept]] = {}
        self._too_long: set[str] = set()

    def keep(self, corrected: OpticalDensityFrame, record: FrameRecord | None) -> None:
        """Keep a frame; a later revision of it replaces an earlier one.

        Of runs that get longer than `whole_scan_most` frames nothing is kept.

        Raises
        ------
        OSError
            If there is no room for it on disk.
        """
        if record is None or not self._settings.whole_scan:
            return
        run = corrected.key.run
        if corrected.frame >= self._settings.whole_scan_most:
            self._drop(run)
            self._too_long.add(run)
        if run in self._too_long:
            return
        bare = replace(record, labels=np.zeros((0, 0), np.int32))
        kept = _Kept(bare, _Masks.of(record.labels))
        self._runs.setdefault(run, {})[corrected.frame] = kept
        od = np.where(corrected.valid, corrected.od, np.float32(np.nan))
        self._store.put((run, corrected.frame), od)

    def results(
        self, run: str, state: PipelineState
    ) -> Iterator[tuple[PipelineState, FrameResult]]:
        """Revised results of a run, in the order of its frames, with the state after it.

        Nothing for runs of fewer than `whole_scan_frames` frames, or more than `whole_scan_most`.
        """
        frames = self._runs.get(run, {})
        if len(frames) < self._settings.whole_scan_frames:
            return
        branch = Pipeline.latest(state)
        scan = Scan(
            records=[frames[n].record for n in sorted(frames)],
            load=lambda frame: self._load(run, frame),
            templates=branch.templates,
            before=state.before,
            side=state.roi,
            device=self._device,
        )
        motion, results = reregister_scan(scan, self._settings)
        living = branch.motion.particles.keys()
        kept = {p: m for p, m in motion.particles.items() if p in living}
        link = replace(branch.link, next_particle=Pipeline.next_particle(state))
        branch = replace(branch, link=link, motion=replace(motion, particles=kept))
        after = replace(state, final=branch, live=branch, waiting={})
        for result in results:
            yield after, result

    def snapshot(self, blobs: Blobs) -> dict[str, Any]:
        """What is kept, for a checkpoint."""
        runs = {
            run: {frame: kept.packed() for frame, kept in frames.items()}
            for run, frames in self._runs.items()
        }
        too_long = frozenset(self._too_long)
        return {"runs": runs, "too_long": too_long, "images": self._store.snapshot(blobs)}

    def restore(self, state: Mapping[str, Any], blobs: Blobs) -> None:
        """Take back what `snapshot` told."""
        self._runs = {
            run: {frame: _Kept.unpacked(data) for frame, data in frames.items()}
            for run, frames in state["runs"].items()
        }
        self._too_long = set(state["too_long"])
        self._store.restore(state["images"], blobs)

    def forget(self, run: str) -> None:
        """Forget a run and its frames."""
        self._drop(run)
        self._too_long.discard(run)

    def _drop(self, run: str) -> None:
        self._runs.pop(run, None)
        self._store.drop_run(run)

    def close(self) -> None:
        """Forget everything."""
        self._runs.clear()
        self._too_long.clear()
        self._store.close()

    def _load(self, run: str, frame: int) -> tuple[Tensor, NDArray[np.int32]] | None:
        kept = self._runs[run][frame]
        try:
            od = self._store.get((run, frame))
        except KeyError:
            return None
        image = torch.from_numpy(od)[None, None].to(self._device)
        return image, kept.masks.labels()


# What is told once more when a run has stopped: its places, its spectra and its maps.


def revise_run(run: RawRun, uid: str, rescan: Rescan, chemistry: Chemistry) -> None:
    """Revise all places, now that the scan is over; the values told so far stand if that fails.

    Spectra and maps are told after the last revision, of all of them.
    """
    if run.state is None:
        return
    revised = 0
    try:
        for state, result in rescan.results(uid, run.state):
            run.state = state
            run.output.emit(result, roi=state.roi)
            chemistry.revise(run, result)
            revised += 1
    except Exception as error:  # noqa: BLE001 - the run must be closed all the same
        run.remarks.warn("second looks failed", "the places were not revised", error)
        run.output.notice("whole_scan_failed")
    if revised:
        logger.info("run %s: %d frames revised in a second look at the scan", uid, revised)
    chemistry.finish(run)
