"""Images in TIFF and NPY files, one file per image or per event, or all in one file."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

from ...errors import AssetError, AssetForbidden, AssetMissing, AssetNotReady
from .reader import Gate, existing

_FIELD = re.compile(
    r"%%|%s|%(?P<flag>0?)(?P<width>\d{0,2})(?:\.(?P<precision>\d{1,2}))?d"
    r"|\{\{|\}\}|\{(?P<name>filename|0)?(?::(?P<spec>0?\d{0,2}d?))?\}"
)
_LITERAL = {"%%": "%", "{{": "{", "}}": "}"}


class SequenceReader(ABC):
    """Files of a sequence, opened one by one and not kept open.

    Parameters
    ----------
    uri : of the folder or beginning of the names; without a `template`, of the only file.
    parameters : `template`, `filename`, `chunk_shape`, `frame_per_point`, ...
    gate : bounds on what may be opened.
    """

    def __init__(self, uri: str, parameters: Mapping[str, Any], gate: Gate) -> None:
        self._uri = uri
        self._parameters = parameters
        self._gate = gate

    def read(self, start: int, stop: int) -> NDArray[Any]:
        """Read (n, H, W) images `start`..`stop`, see `AssetReader.read`."""
        if not self._parameters.get("template"):
            return self._file(self._uri, start, stop)
        parts = [
            self._file(sequence_uri(self._uri, self._parameters, f), first, last)
            for f, first, last in pieces(start, stop, frames_per_file(self._parameters))
        ]
        return _joined(parts)

    def close(self) -> None:
        """Do nothing: no file is kept open."""
        return

    def _file(self, uri: str, first: int, last: int | None) -> NDArray[Any]:
        path = self._gate.locate(uri)
        with _translated(existing(path)):
            return self.load(path, first, last)

    @abstractmethod
    def load(self, path: Path, first: int, last: int | None) -> NDArray[Any]:
        """Load (n, H, W) images `first`..`last` (None: all) of one file, after `Gate.admit`."""


class TiffReader(SequenceReader):
    """TIFF files; the images of a file are its pages."""

    def load(self, path: Path, first: int, last: int | None) -> NDArray[Any]:
        """Load the pages `first`..`last` of one file."""
        with tifffile.TiffFile(path) as file:
            last = len(file.pages) if last is None else last
            if len(file.pages) < last:
                raise AssetNotReady(f"{path}: holds {len(file.pages)} pages, not {last} (yet)")
            page = file.pages[first]
            if page.dtype is None:
                raise AssetError(f"{path}: page {first} has no known dtype")
            self._gate.admit(last - first, page.shape, page.dtype, path)
            images = file.asarray(key=range(first, last))
        return _stack(images, path)


class NpyReader(SequenceReader):
    """NPY files with (H, W) or (n, H, W)."""

    def load(self, path: Path, first: int, last: int | None) -> NDArray[Any]:
        """Load the images `first`..`last` of one file."""
        # Mapping reads the header only, so that the size is known before any pixel is read.
        # It reads nothing but NPY, where np.load would also open archives; and no objects.
        images = _stack(np.lib.format.open_memmap(path, mode="r"), path)
        last = len(images) if last is None else last
        if len(images) < last:
            raise AssetNotReady(f"{path}: holds {len(images)} images, not {last} (yet)")
        self._gate.admit(last - first, images.shape[1:], images.dtype, path)
        return np.array(images[first:last])


class NpySeqReader(NpyReader):
    """NPY_SEQ of ophyd.sim: file ``<path>_<index>.npy`` holds all that an event brought."""

    def read(self, start: int, stop: int) -> NDArray[Any]:
        """Read (n, H, W) images of the files `start`..`stop`."""
        return _joined([self._file(f"{self._uri}_{i}.npy", 0, None) for i in range(start, stop)])


def _stack(images: NDArray[Any], path: Path) -> NDArray[Any]:
    """Return (n, H, W) of one image or a stack."""
    if images.ndim == 2:
        return images[np.newaxis]
    if images.ndim == 3:
        return images
    raise AssetError(f"{path}: should hold (H, W) or (n, H, W), got {images.shape}")


def _joined(parts: list[NDArray[Any]]) -> NDArray[Any]:
    if len({part.shape[1:] for part in parts}) > 1:
        raise AssetError(f"files of one event differ in shape: {[p.shape for p in parts]}")
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


@contextmanager
def _translated(path: Path) -> Iterator[None]:
    """Turn the errors of a file that is half written or broken into ours."""
    try:
        yield
    except PermissionError as error:
        raise AssetForbidden(f"{path}: this user may not read the file") from error
    except AssetError:
        raise
    except Exception as error:  # parsers that meet garbage raise whatever they like
        raise AssetNotReady(f"{path}: cannot be read (yet): {error}") from error


# File names out of templates that documents bring: ``%s%s_%6.6d.tiff``, ``img_{:05d}.tif``.
#
# A template comes over the network, so it is not handed to ``%`` or ``str.format``: only numbers of
# a bounded width and the file name are put in.


def file_name(template: str, filename: str, index: int) -> str:
    """Name of file `index` of a sequence.

    Parameters
    ----------
    template : with at most one number. Of several ``%s`` the first is the folder (which stands in
        the resource itself) when there are two, and the file name is put in for the last.
    filename : what ``%s`` or ``{filename}`` stands for.
    index : number of the file.

    Raises
    ------
    AssetMissing
        If the template holds anything else that looks like a field.
    """
    strings = template.count("%s")
    seen = 0

    def fill(match: re.Match[str]) -> str:
        nonlocal seen
        word = match.group(0)
        if word in _LITERAL:
            return _LITERAL[word]
        if word == "%s":
            seen += 1
            return filename if seen == strings else ""
        if match.group("name") == "filename":
            return filename
        return _number(index, match)

    rest = _FIELD.sub("", template)
    if "%" in rest or "{" in rest or "}" in rest:
        raise AssetMissing(
            f"the file name template {template[:80]!r} is not understood; "
            "it may hold %s, %06d or {:06d}"
        )
    return _FIELD.sub(fill, template)


def _number(index: int, match: re.Match[str]) -> str:
    if match.group(0).startswith("%"):
        text = str(index).rjust(int(match.group("precision") or 0), "0")
        return text.rjust(int(match.group("width") or 0), "0" if match.group("flag") else " ")
    spec = (match.group("spec") or "").rstrip("d")
    return str(index).rjust(int(spec or 0), "0" if spec.startswith("0") else " ")


def sequence_uri(uri: str, parameters: Mapping[str, Any], index: int) -> str:
    """Return the URI of file `index`: that of the resource with the filled template behind.

    ``stream_resource`` URIs end in a slash or in the beginning of the file name; the folder of an
    area detector's resource may lack the slash.
    """
    template = str(parameters.get("template", ""))
    tail = file_name(template, str(parameters.get("filename", "")), index)
    if "%s%s" in template and not uri.endswith("/"):
        uri += "/"
    return uri + (tail.lstrip("/") if uri.endswith("/") else tail)


def frames_per_file(parameters: Mapping[str, Any]) -> int:
    """Return the number of images in each file of a sequence.

    An index (event) stands for `frames_per_index` images. They lie in `files_per_datum` files
    where that is given, in one file each for area detectors (`frame_per_point`), in
    `chunk_shape[0]` per file where that divides them, else all in one.
    """
    per_index = whole(parameters, "frames_per_index", 1)
    files = whole(parameters, "files_per_datum", 0)
    if files:
        return max(per_index // files, 1)
    if parameters.get("frame_per_point") or parameters.get("multiplier"):
        return 1
    shape = parameters.get("chunk_shape")
    if isinstance(shape, list | tuple) and len(shape) == 3 and isinstance(shape[0], int):
        return shape[0] if shape[0] > 0 and per_index % shape[0] == 0 else per_index
    return per_index


def whole(parameters: Mapping[str, Any], name: str, default: int) -> int:
    """Return the parameter `name` if it is a count above zero, else `default`."""
    value = parameters.get(name)
    if isinstance(value, int) and not isinstance(value, bool) and value > 0:
        return value
    return default


def pieces(start: int, stop: int, size: int) -> list[tuple[int, int, int]]:
    """Split images `start`..`stop` into (file, first, last) of files with `size` images each."""
    files = range(start // size, -(-stop // size))
    return [(f, max(start - f * size, 0), min(stop - f * size, size)) for f in files]
