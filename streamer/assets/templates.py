"""File names out of templates that documents bring: ``%s%s_%6.6d.tiff``, ``img_{:05d}.tif``.

A template comes over the network, so it is not handed to ``%`` or ``str.format``: only numbers of a
bounded width and the file name are put in.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from ..errors import AssetMissing

_FIELD = re.compile(
    r"%%|%s|%(?P<flag>0?)(?P<width>\d{0,2})(?:\.(?P<precision>\d{1,2}))?d"
    r"|\{\{|\}\}|\{(?P<name>filename|0)?(?::(?P<spec>0?\d{0,2}d?))?\}"
)
_LITERAL = {"%%": "%", "{{": "{", "}}": "}"}


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
    """URI of file `index`: that of the resource, with the filled template put behind.

    ``stream_resource`` URIs end in a slash or in the beginning of the file name; the folder of an
    area detector's resource may lack the slash.
    """
    template = str(parameters.get("template", ""))
    tail = file_name(template, str(parameters.get("filename", "")), index)
    if "%s%s" in template and not uri.endswith("/"):
        uri += "/"
    return uri + (tail.lstrip("/") if uri.endswith("/") else tail)


def frames_per_file(parameters: Mapping[str, Any]) -> int:
    """Images in each file of a sequence.

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
