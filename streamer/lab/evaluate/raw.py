"""Raw documents as a stack of optical density, without detection or alignment."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from ...config import Settings
from ...core import assemble, correct
from ...core.assemble.chunks import frames_from_chunk
from ...core.frames import FrameKey, FrameRef, NamedDocument, Role
from ...errors import FrameError


def od_stack(documents: Iterable[NamedDocument], settings: Settings) -> NDArray[np.float32]:
    """Correct every sample frame of one run, with its own flat where there is one.

    Parameters
    ----------
    documents : one run with in-line images.
    settings : of `assemble` and `correct`.

    Returns
    -------
    (F, H, W) float32, optical density, NaN where invalid, by frame; all NaN if it is of no use.
    """
    assembler, corrector = assemble.init(settings.assemble), correct.init()
    images: dict[FrameKey, NDArray[np.float32]] = {}
    stack: dict[int, NDArray[np.float32]] = {}
    for name, doc in documents:
        assembler, outputs = assemble.update(assembler, name, doc)
        for ref in (o for o in outputs if isinstance(o, FrameRef)):
            for frame in frames_from_chunk(ref, np.asarray(ref.array)):
                sample = frame.role is Role.SAMPLE
                try:
                    corrector, jobs = correct.update(corrector, frame, settings.correct)
                except FrameError:
                    if sample:
                        corrector, number = correct.skip(corrector)
                        stack[number] = np.full(frame.image.shape, np.nan, np.float32)
                    continue
                if sample:
                    images[frame.key] = frame.image
                stack.update(_apply(jobs, images, settings))
    corrector, jobs = correct.finish(corrector, settings.correct)
    stack.update(_apply(jobs, images, settings))
    return np.stack([stack[number] for number in sorted(stack)])


def _apply(
    jobs: Iterable[correct.Correction],
    images: dict[FrameKey, NDArray[np.float32]],
    settings: Settings,
) -> dict[int, NDArray[np.float32]]:
    done = {}
    for job in jobs:
        frame = correct.apply(images[job.key], job, settings.correct)
        done[frame.frame] = np.where(frame.valid, frame.od, np.float32(np.nan))
        if job.final:
            del images[job.key]
    return done
