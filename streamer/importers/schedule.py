"""The order of the exposures where files hold them sorted by what they show."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

from numpy.typing import NDArray

from ..errors import ImportDataError
from ..frames import Role
from .plan import Shot

Frames: TypeAlias = list[tuple[Path, Callable[[], NDArray[Any]]]]


def scheduled(
    frames: Mapping[Role, Frames],
    energies: Sequence[float],
    *,
    exposures: Mapping[Role, float | None],
    start: float,
    period: float,
) -> tuple[Shot, ...]:
    """Return darks, then per energy the sample images and its flats.

    Flats whose number does not fit the energies belong to no energy and come before the sample.

    Parameters
    ----------
    frames : source and reader of every image, by role, sample images by energy.
    energies : eV; empty for a series without known energies.
    exposures : s, by role.
    start : time of the first image, s since the epoch.
    period : time from one image to the next, s.

    Raises
    ------
    ImportDataError
        If the number of sample images is no multiple of the number of energies.
    """
    sample, flats = frames[Role.SAMPLE], frames[Role.FLAT]
    steps: list[float | None] = list(energies) or [None]
    repeats = _repeats(len(sample), len(steps))
    per_energy = len(flats) // len(steps) if len(flats) % len(steps) == 0 else 0
    order = [(Role.DARK, None, frame) for frame in frames[Role.DARK]]
    if not per_energy:
        order += [(Role.FLAT, None, frame) for frame in flats]
    for index, energy in enumerate(steps):
        for role, found, count in ((Role.SAMPLE, sample, repeats), (Role.FLAT, flats, per_energy)):
            mine = found[index * count : (index + 1) * count]
            order += [(role, energy, frame) for frame in mine]
    return tuple(
        Shot(
            role=role,
            energy=energy,
            exposure=exposures.get(role),
            time=start + number * period,
            source=source,
            read=read,
        )
        for number, (role, energy, (source, read)) in enumerate(order)
    )


def _repeats(images: int, energies: int) -> int:
    if images % energies:
        raise ImportDataError(
            f"{images} sample images do not fit {energies} energies; wanted a multiple. Give the "
            "list of energies that belongs to these images"
        )
    return images // energies
