"""Simulated scenes of a training, made once and kept in files."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4
from zipfile import BadZipFile, is_zipfile

from ..errors import TrainingError
from .job import Job
from .pool import Pool, build_pool

PoolProgress = Callable[[str, int, int], None]
"""Called with what is made, how many scenes of it are done, and of how many."""

_ABOUT_TRAINING = frozenset(
    {
        "checkpoint.py",
        "data.py",
        "job.py",
        "log.py",
        "result.py",
        "run.py",
        "start.py",
        "recorded.py",
        "tasks.py",
        "__init__.py",
    }
)


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
    progress : is told of what is made.
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
    """First digits of the sha256 of all code that scenes depend on."""
    here = Path(__file__).parent
    modules = [p for p in sorted(here.glob("*.py")) if p.name not in _ABOUT_TRAINING]
    modules += sorted((here.parent / "simulate").glob("*.py"))
    modules.append(here.parents[1] / "models" / "networks" / "inputs.py")
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
