"""Follows links in HDF5 files without leaving the folders that may be read.

HDF5 itself follows external links, virtual datasets and external storage wherever they point, to
any file that this user can read. So links are walked here, one by one, and every file that a
dataset draws on is checked before its pixels are read.
"""

from __future__ import annotations

import posixpath
from collections.abc import Callable
from pathlib import Path

import h5py

from ..errors import AssetError, AssetForbidden, AssetMissing
from .reader import Gate, existing

_MOST_LINKS = 32
_DEEPEST = 4
_MOST_SOURCES = 256

OpenFile = Callable[[Path], h5py.File]


def find_dataset(open_file: OpenFile, path: Path, name: str, gate: Gate) -> h5py.Dataset:
    """Dataset `name` of the file at `path`, through soft and external links.

    Parameters
    ----------
    open_file : opens a file for reading and keeps it to be closed later.
    gate : says which files may be opened.

    Raises
    ------
    AssetMissing
        If there is no such dataset (yet).
    AssetForbidden
        If the dataset draws on a file outside the allowed roots.
    AssetError
        If links lead round in circles.
    """
    dataset, home = _follow(open_file, path, name, gate)
    _vet(open_file, dataset, home, gate, 0)
    return dataset


def _follow(open_file: OpenFile, path: Path, name: str, gate: Gate) -> tuple[h5py.Dataset, Path]:
    """Dataset and the file that holds it."""
    file = open_file(path)
    todo, group, hops = _parts(name), "/", 0
    while todo:
        part = todo.pop(0)
        parent = file[group]
        link = parent.get(part, getlink=True) if isinstance(parent, h5py.Group) else None
        if link is None:
            raise AssetMissing(f"{path}: no dataset {name!r} (yet); nothing at {group}/{part}")
        if isinstance(link, h5py.HardLink):
            group = posixpath.join(group, part)
            continue
        if not isinstance(link, h5py.SoftLink | h5py.ExternalLink):
            raise AssetError(f"{path}: {name!r} leads through a link of unknown kind")
        hops += 1
        if hops > _MOST_LINKS:
            raise AssetError(f"{path}: links of {name!r} lead round in circles")
        if isinstance(link, h5py.ExternalLink):
            path = _neighbour(path, link.filename, gate)
            file = open_file(path)
            group = "/"
        todo = _parts(posixpath.join(group, str(link.path))) + todo
        group = "/"
    found = file[group]
    if not isinstance(found, h5py.Dataset):
        raise AssetMissing(f"{path}: {name!r} is a group, not a dataset")
    return found, path


def _parts(name: str) -> list[str]:
    return [p for p in posixpath.normpath("/" + name).split("/") if p]


def _neighbour(path: Path, name: str, gate: Gate) -> Path:
    """File that another one refers to, relative to its folder."""
    return existing(gate.check(path.parent / name))


def _vet(open_file: OpenFile, dataset: h5py.Dataset, path: Path, gate: Gate, depth: int) -> None:
    """Check every file that a dataset draws its pixels from."""
    if depth > _DEEPEST:
        raise AssetError(f"{path}: virtual datasets of virtual datasets, more than {_DEEPEST} deep")
    for name, *_ in dataset.external or ():
        _neighbour(path, name, gate)
    if not dataset.is_virtual:
        return
    sources = {(s.file_name, s.dset_name) for s in dataset.virtual_sources()}
    if len(sources) > _MOST_SOURCES:  # each is opened, and a process may open about a thousand
        raise AssetError(f"{path}: a virtual dataset over {len(sources)} others, > {_MOST_SOURCES}")
    for name, inside in sources:
        if "%" in name:
            raise AssetForbidden(f"{path}: a virtual dataset over the name pattern {name!r}")
        source = path if name == "." else _neighbour(path, name, gate)
        found, home = _follow(open_file, source, inside, gate)
        _vet(open_file, found, home, gate, depth + 1)
