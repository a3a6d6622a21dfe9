"""Pools of training data: inputs and targets of many scenes, made once and kept in a file."""

from __future__ import annotations

import hashlib
import multiprocessing
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path
from typing import Any
from uuid import uuid4
from zipfile import BadZipFile, is_zipfile

import numpy as np
import torch
from numpy.typing import NDArray

from ....models.networks.inputs import frame_input, roi_input, sample_windows
from ...errors import TrainingError
from .job import Job
from .scenes import FRAMES, TrainingScene, random_scenes
from .sets import IGNORED, FrameSet, RoiSet
from .targets import (
    REGIMES,
    Rois,
    cells_of,
    generator_target,
    lit,
    regimes_of,
    rois,
)

CELLS = 128
"""Side of the crops of the generator, cells."""
_STEPS = (2, 2, 2, 2, 2, 2, 2, 2, 3, 4)  # px per cell, of one group of scenes after the other
_MOST_CLEAN = 2.0
Progress = Callable[[int, int], None]
PoolProgress = Callable[[str, int, int], None]
"""Called with what is made, how many scenes of it are done, and of how many."""
_SCENE_MODULES = (
    "augment.py",
    "layout.py",
    "pool.py",
    "scenes.py",
    "settings.py",
    "targets.py",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pool:
    """Inputs and targets of N scenes with M ROIs.

    Attributes
    ----------
    frames : (N, 1, 128, 128) float16, input of the generator.
    masks : (N, 1, 128, 128) uint8, 1 in particles, with seams; 255 in those that are invisible.
    steps : (N,) int64, px per cell.
    seeds : (N, 2) int64, seed of the group of scenes and index in it.
    rois : (M, 1, 64, 64) float16, input of the Dual U-net.
    clean : (M, 1, 64, 64) float16, the particle alone, about 0..1.
    roi_masks : (M, 1, 64, 64) uint8, its silhouette.
    scene : (M,) int64, index of the scene.
    diameter : (M,) float32, equal-area, px; 0 where no particle is meant.
    snr : (M,) float32, contrast over the noise of a pixel; 0 where no particle is meant.
    regimes : (M, 7) bool, see `REGIMES`; all False where no particle is meant.
    """

    frames: NDArray[np.float16]
    masks: NDArray[np.uint8]
    steps: NDArray[np.int64]
    seeds: NDArray[np.int64]
    rois: NDArray[np.float16]
    clean: NDArray[np.float16]
    roi_masks: NDArray[np.uint8]
    scene: NDArray[np.int64]
    diameter: NDArray[np.float32]
    snr: NDArray[np.float32]
    regimes: NDArray[np.bool_]

    def frame_set(self) -> FrameSet:
        """Return what the generator is trained on; shares memory."""
        return FrameSet(image=torch.from_numpy(self.frames), mask=torch.from_numpy(self.masks))

    def roi_set(self) -> RoiSet:
        """Return what the Dual U-net is trained on; the invisible have no weight. Shares memory."""
        counts = ~self.regimes[:, REGIMES.index("invisible")]
        return RoiSet(
            roi=torch.from_numpy(self.rois),
            clean=torch.from_numpy(self.clean),
            mask=torch.from_numpy(self.roi_masks),
            weight=torch.from_numpy(counts.astype(np.float32))[:, None, None, None],
        )

    def save(self, path: Path) -> None:
        """Write a .npz file, without compression: that would cost more than making the data."""
        np.savez(path, **{f.name: getattr(self, f.name) for f in fields(self)})

    @classmethod
    def load(cls, path: Path) -> Pool:
        """Read what `save` wrote.

        Raises
        ------
        FileNotFoundError
            If there is no such file.
        KeyError
            If the file lacks an array: it is of another version and must be made again.
        """
        with np.load(path, allow_pickle=False) as arrays:
            return cls(**{f.name: arrays[f.name] for f in fields(cls)})


def build_pool(
    seed: int,
    n_scenes: int,
    workers: int = 1,
    progress: Progress = lambda *_: None,
) -> Pool:
    """Make a pool; the same for any number of workers. Pools of different seeds share no scene.

    Parameters
    ----------
    seed : of everything, non-negative.
    n_scenes : number of scenes.
    workers : processes; 1 for this one.
    progress : called with how many of how many scenes are done.
    """
    counts = [min(FRAMES, n_scenes - start) for start in range(0, n_scenes, FRAMES)]
    parts: list[dict[str, NDArray[Any]]] = []
    done = 0
    for part in _made(partial(_group, seed), counts, workers):
        part["scene"] += done
        parts.append(part)
        done += len(part["steps"])
        progress(done, n_scenes)
    # each array leaves its part when it is joined: gigabytes need not be held twice
    return Pool(**{f.name: np.concatenate([p.pop(f.name) for p in parts]) for f in fields(Pool)})


def _made(
    make: Callable[[int, int], dict[str, NDArray[Any]]], counts: list[int], workers: int
) -> Iterator[dict[str, NDArray[Any]]]:
    if workers <= 1:
        yield from map(make, range(len(counts)), counts)
        return
    # spawn: a fork of a process in which torch runs threads may hang
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, context, partial(torch.set_num_threads, 1)) as pool:
        yield from pool.map(make, range(len(counts)), counts, chunksize=4)


def group_seed(seed: int, group: int) -> int:
    """Combine seed and group of scenes; no two of all seeds and groups below 2**31 are the same."""
    return (seed << 31) | group


def _group(seed: int, group: int, count: int) -> dict[str, NDArray[Any]]:
    """Make the arrays of one group of scenes, by name."""
    own = group_seed(seed, group)
    rng = np.random.default_rng([own, 3])
    step = int(rng.choice(_STEPS))
    parts = []
    for index, scene in enumerate(random_scenes(own, count, CELLS * step)):
        parts.append(frame_arrays(scene, step) | roi_arrays(scene, rois(scene, rng)))
        parts[-1]["scene"] = np.full(len(parts[-1]["snr"]), index, np.int64)
        parts[-1]["seeds"] = np.array([[own, index]], np.int64)
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def frame_arrays(scene: TrainingScene, step: int) -> dict[str, NDArray[Any]]:
    """Make input and target of the generator, by name as in `Pool`, with a first axis of 1."""
    od, valid = _tensors(scene)
    seen = frame_input(od, valid, step)
    mask = (generator_target(scene.labels, step, lit(scene.valid)) > 0.5).astype(np.uint8)
    hidden = regimes_of(scene)[:, REGIMES.index("invisible")]
    mask[cells_of(scene.labels, hidden, step)] = IGNORED
    return {
        "frames": seen.numpy().astype(np.float16),
        "masks": mask[None, None],
        "steps": np.array([step], np.int64),
    }


def roi_arrays(scene: TrainingScene, windows: Rois) -> dict[str, NDArray[Any]]:
    """Make inputs and targets of the Dual U-net, by name as in `Pool`."""
    od, valid = _tensors(scene)
    centres, sides = torch.from_numpy(windows.centres), torch.from_numpy(windows.sides)
    owner = torch.zeros(len(centres), dtype=torch.int64)
    seen, _ = roi_input(od, valid, owner, centres, sides)
    bright = torch.from_numpy(lit(scene.valid).astype(np.float32))[None, None]
    usable = sample_windows(bright, owner, centres, sides) > 0.5
    thickness, silhouette = _alone(scene, windows.particle)
    each = torch.arange(len(centres))
    clean = sample_windows(thickness, each, centres, sides) * usable
    mask = (sample_windows(silhouette, each, centres, sides) > 0.5) & usable
    meant = windows.particle >= 0
    return {
        "rois": seen.numpy().astype(np.float16),
        "clean": clean.clamp(0, _MOST_CLEAN).numpy().astype(np.float16),
        "roi_masks": mask.numpy().astype(np.uint8),
        "diameter": _of(scene.diameter, windows.particle, meant),
        "snr": _of(scene.snr, windows.particle, meant),
        "regimes": _of(regimes_of(scene), windows.particle, meant, np.bool_),
    }


def _tensors(scene: TrainingScene) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.from_numpy(scene.od)[None, None], torch.from_numpy(scene.valid)[None, None]


def _of(
    values: NDArray[Any], which: NDArray[np.int64], meant: NDArray[np.bool_], dtype: Any = "f4"
) -> NDArray[Any]:
    out = np.zeros((len(which), *values.shape[1:]), dtype)
    out[meant] = values[which[meant]]
    return out


def _alone(scene: TrainingScene, which: NDArray[np.int64]) -> tuple[torch.Tensor, torch.Tensor]:
    """Draw thickness and silhouette (M, 1, H, W) float32 of single particles; 0 for -1."""
    thickness = torch.zeros((len(which), 1, *scene.od.shape))
    silhouette = torch.zeros_like(thickness)
    for i, particle in enumerate(which):
        if particle >= 0:
            one = scene.alone[particle]
            thickness[i, 0][one.box] = torch.from_numpy(one.thickness)
            silhouette[i, 0][one.box] = torch.from_numpy(one.silhouette).float()
    return thickness, silhouette


# Simulated scenes of a training, made once and kept in files.


@dataclass(frozen=True, slots=True, kw_only=True)
class Data:
    """Scenes to train on and others to score on.

    Attributes
    ----------
    train, held_out : share no scene.
    code : of the code that they were simulated by, see `code_version`.
    """

    train: Pool
    held_out: Pool
    code: str


def make_data(job: Job, folder: Path, workers: int, progress: PoolProgress) -> Data:
    """Simulate the scenes of a job, or read them where this has been done before.

    Parameters
    ----------
    job : says how many, and their seeds.
    folder : where pools are kept: some 100 kB per scene.
    workers : processes.
    progress : called with what is made.
    """
    folder.mkdir(parents=True, exist_ok=True)
    code = code_version()

    def get(what: str, seed: int, scenes: int) -> Pool:
        path = folder / f"pool-{seed}-{scenes}-{code}.npz"
        if path.exists():
            return _read(path)
        pool = build_pool(
            seed, scenes, workers=workers, progress=lambda done, of: progress(what, done, of)
        )
        # another training may be making the same scenes in the same folder
        beside = path.with_suffix(f".{uuid4().hex}.npz")
        try:
            pool.save(beside)
            os.replace(beside, path)  # noqa: PTH105 - atomic, also over an existing file
        finally:
            beside.unlink(missing_ok=True)
        return pool

    return Data(
        train=get("scenes to train on", job.seed, job.scenes),
        held_out=get("scenes to score on", job.held_out_seed, job.held_out),
        code=code,
    )


def code_version() -> str:
    """Return the first digits of the sha256 of all code that scenes depend on."""
    here = Path(__file__).parent
    modules = [here / name for name in _SCENE_MODULES]
    modules += sorted((here.parent / "simulate").glob("*.py"))
    modules.append(here.parents[2] / "models" / "networks" / "inputs.py")
    digest = hashlib.sha256()
    for path in modules:
        digest.update(path.read_bytes())
    return digest.hexdigest()[:8]


def _read(path: Path) -> Pool:
    damaged = f"{path}: damaged; delete it, and it is made again"
    if not is_zipfile(path):
        raise TrainingError(damaged)
    try:
        return Pool.load(path)
    except (KeyError, ValueError, OSError, BadZipFile) as error:
        raise TrainingError(damaged) from error
