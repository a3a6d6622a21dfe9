"""Read reference spectra: XDI, columns, Athena exports and Athena projects."""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np

from ...models.arrays import Array
from ..core.xanes import PhaseReference, XanesSettings, make_reference
from ..errors import ConfigError

Spectrum = tuple[Array, Array]
_KEV_BELOW = 1000.0  # eV; hard X-ray edges lie above
_MU = ("norm", "normtrans", "normfluor", "xmu", "mu", "mutrans", "mufluor", "murefer")
_RATIOS: tuple[tuple[str, str, Callable[[Array], Array]], ...] = (
    ("i0", "itrans", np.log),
    ("i0", "i1", np.log),
    ("i0", "it", np.log),
    ("ifluor", "i0", lambda ratio: ratio),
    ("if", "i0", lambda ratio: ratio),
)
_HC = 12398.4198  # h c, eV Angstrom (CODATA 2018)
_LIST = re.compile(r"^@(\w+)\s*=\s*(\(.*?\));\s*$", re.MULTILINE | re.DOTALL)
_ITEM = re.compile(r"[-+.\dEe]+")
_GZIP = b"\x1f\x8b"
_MOST_BYTES = 50_000_000  # bounds what a wrong file costs; a spectrum has some 10 kB


def load_references(settings: XanesSettings) -> tuple[PhaseReference, ...]:
    """Load the reduced and the oxidised phase; nothing if the settings name no files.

    Raises
    ------
    ConfigError
        A file cannot be read, or holds no spectrum with an edge.
    """
    if settings.references is None or not settings.enabled:
        return ()
    named = settings.references.model_dump()
    return tuple(
        make_reference(phase, *read_spectrum(Path(settings.folder) / named[phase]), settings)
        for phase in ("reduced", "oxidised")
    )


def read_spectrum(path: str | Path) -> Spectrum:
    """Read energies, eV, and absorption from a file.

    Parameters
    ----------
    path : XDI, text columns, an Athena export, or an Athena project, ``file.prj#label``.

    Raises
    ------
    ConfigError
        The file cannot be read, or holds no spectrum.
    """
    name, _, label = str(path).partition("#")
    try:
        with Path(name).open("rb") as file:
            content = file.read(_MOST_BYTES)
        if content.startswith(_GZIP):
            content = gzip.decompress(content)
        text = content.decode("utf-8", errors="replace")
        project = name.endswith(".prj")
        return parse_athena_project(text, label) if project else parse_columns(text)
    except (OSError, EOFError, ConfigError) as error:
        raise ConfigError(f"reference spectrum {name}: {error}") from error


def parse_columns(text: str) -> Spectrum:
    """Parse energies, eV, and absorption of a table of columns, XDI or exported by Athena.

    The columns are known from ``# Column.N: name unit`` lines, else from the last comment before
    the numbers; absorption is looked for under its usual names, then as ln(i0 / itrans), then as
    ifluor / i0. Without names, the first two columns are energy and absorption. Energies that stay
    below 1000 are keV.

    Raises
    ------
    ConfigError
        It has no such columns.
    """
    lines = text.splitlines()
    comments = [line.strip() for line in lines if line.strip()[:1] in ("#", "%", ";")]
    table = _numbers([line for line in lines if line.strip()[:1] not in ("#", "%", ";", "")])
    names = _names(comments, table.shape[1])
    columns = dict(zip(names, table.T, strict=True))
    energy = _energy(columns, comments, table)
    return _in_ev(energy), _absorption(columns, table)


def parse_athena_project(text: str, label: str = "") -> Spectrum:
    """Parse energies, eV, and absorption of a group of an Athena project, unpacked.

    It may be written as Perl or as JSON.

    The shift of its energies that was set in Athena is applied, as Athena does.

    Parameters
    ----------
    label : of the group; "" for the first.

    Raises
    ------
    ConfigError
        There is no such group; the message names those that are there.
    """
    found = dict(reversed([*(_json(text) if text.lstrip().startswith("{") else _perl(text))]))
    if not found or (label and label not in found):
        raise ConfigError(f"no group {label!r} in the Athena project: it has {sorted(found)}")
    return found[label] if label else found[next(reversed(found))]


def _perl(text: str) -> Iterator[tuple[str, Spectrum]]:
    """Iterate over the groups of a project that is written as Perl, as most are."""
    label, shift, x = "", 0.0, None
    for name, value in _LIST.findall(text):
        if name == "args":
            label, shift, x = _argument(value, "label"), _argument(value, "bkg_eshift"), None
        elif name == "x":
            x = _array(_ITEM.findall(value))
        elif name == "y" and x is not None:
            yield label, (_in_ev(x) + float(shift or 0.0), _array(_ITEM.findall(value)))


def _json(text: str) -> Iterator[tuple[str, Spectrum]]:
    """Iterate over the groups of a project that is written as JSON."""
    try:
        content = json.loads(text)
    except ValueError as error:
        raise ConfigError(f"the Athena project is broken: {error}") from None
    for name, group in content.items():
        if isinstance(group, dict) and {"args", "x", "y"} <= group.keys():
            arguments = group["args"]
            shift = float(arguments.get("bkg_eshift") or 0.0)
            spectrum = _in_ev(_array(group["x"])) + shift, _array(group["y"])
            yield str(arguments.get("label") or name), spectrum


def _argument(arguments: str, name: str) -> str:
    match = re.search(rf"'{name}',\s*'?((?:[^'\\]|\\.)*?)(?:'|,|\))", arguments)
    return match[1].strip() if match else ""


def _array(items: Sequence[str]) -> Array:
    try:
        return np.array([float(item) for item in items])
    except ValueError as error:
        raise ConfigError(f"the Athena project is broken: {error}") from None


def _numbers(lines: list[str]) -> Array:
    rows = []
    for line in lines:
        try:
            rows.append([float(item) for item in line.replace(",", " ").split()])
        except ValueError:
            if rows:  # a header may come without a mark, text between numbers may not
                raise ConfigError(f"no numbers: {line[:60]!r}") from None
    width = {len(row) for row in rows}
    if len(width) != 1 or width.pop() < 2:
        raise ConfigError("want a table of at least two columns of numbers")
    return np.array(rows)


def _names(comments: list[str], width: int) -> list[str]:
    named = {
        int(match[1]): match[2].lower()
        for line in comments
        if (match := re.match(r"[#%;]\s*Column\.(\d+):\s*(\S+)", line))
    }
    if named:
        return [named.get(i + 1, f"column {i + 1}") for i in range(width)]
    last = [word.lower() for word in comments[-1].lstrip("#%; ").split()] if comments else []
    if len(last) == width and not any(_is_number(word) for word in last):
        return last
    return [f"column {i + 1}" for i in range(width)]


def _energy(columns: dict[str, Array], comments: list[str], table: Array) -> Array:
    for name in ("energy", "e"):
        if name in columns:
            return columns[name]
    if "angle" in columns:
        spacing = [m[1] for c in comments if (m := re.search(r"d_spacing:\s*([\d.]+)", c))]
        if not spacing:
            raise ConfigError("energies are told as angles, without Mono.d_spacing")
        return _HC / (2 * float(spacing[0]) * np.sin(np.radians(columns["angle"])))
    return table[:, 0]


def _absorption(columns: dict[str, Array], table: Array) -> Array:
    for name in _MU:
        if name in columns:
            return columns[name]
    for over, under, curve in _RATIOS:
        if over in columns and under in columns:
            with np.errstate(divide="ignore", invalid="ignore"):
                return curve(columns[over] / columns[under])
    if any(not name.startswith("column ") for name in columns) and "energy" in columns:
        raise ConfigError(f"no absorption among the columns {', '.join(columns)}")
    return table[:, 1]


def _in_ev(energy: Array) -> Array:
    return energy * 1000.0 if energy.max() < _KEV_BELOW else energy


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True
