"""Second pass over a scan: its frames are kept until it is over, and then revised."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from ...models.arrays import Labels
from ...streamer.core.frames import OpticalDensityFrame
from ...streamer.core.pipeline.branch import FrameRecord
from ...streamer.core.pipeline.pipeline import Pipeline, PipelineState
from ...streamer.core.pipeline.second_pass import Scan, reregister_scan
from ...streamer.core.register.settings import RegisterSettings
from ...streamer.core.results import FrameResult
from ...streamer.core.run import RunLengths, ScanMemory
from ...streamer.io.checkpoint import Blobs, decode, encode
from ...streamer.io.checkpoint.files import pack_tree, unpack_tree
from ...streamer.io.frame_store import FrameStore


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
        self._runs: dict[str, dict[int, _KeptFrame]] = {}
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
        kept = _KeptFrame(bare, RunLengths.of(record.labels))
        self._runs.setdefault(run, {})[corrected.frame] = kept
        od = np.where(corrected.valid, corrected.od, np.float32(np.nan))
        self._store.put((run, corrected.frame), od)

    def results(
        self, run: str, state: PipelineState
    ) -> Iterator[tuple[PipelineState, FrameResult]]:
        """Revise the results of a run, in the order of its frames, each with the state after all.

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

    def snapshot(self, blobs: Blobs) -> ScanMemory:
        """Return what is kept, for a checkpoint."""
        frames = {
            run: {frame: kept.packed for frame, kept in frames.items()}
            for run, frames in self._runs.items()
        }
        images = self._store.snapshot(blobs)
        return ScanMemory(frames=frames, too_long=frozenset(self._too_long), images=images)

    def restore(self, memory: ScanMemory, blobs: Blobs) -> None:
        """Take back a snapshot."""
        self._runs = {
            run: {frame: _KeptFrame.unpacked(data) for frame, data in frames.items()}
            for run, frames in memory.frames.items()
        }
        self._too_long = set(memory.too_long)
        self._store.restore(memory.images, blobs)

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

    def _load(self, run: str, frame: int) -> tuple[Tensor, Labels] | None:
        kept = self._runs[run][frame]
        try:
            od = self._store.get((run, frame))
        except KeyError:
            return None
        image = torch.from_numpy(od)[None, None].to(self._device)
        return image, kept.masks.labels()


@dataclass(frozen=True)
class _KeptFrame:
    record: FrameRecord
    masks: RunLengths

    @cached_property
    def packed(self) -> bytes:
        """Return the bytes for a checkpoint; made once, as each frame is in all that follow."""
        return pack_tree(encode((self.record, self.masks)))

    @classmethod
    def unpacked(cls, data: bytes) -> _KeptFrame:
        """Read the bytes of a checkpoint."""
        return cls(*decode(unpack_tree(data)))
