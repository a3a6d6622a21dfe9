"""HDF5 files of FXI (NSLS-II 18-ID) XANES scans: img_xanes, img_bkg, img_dark, X_eng."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from ...core.frames import Role
from ...errors import ImportDataError
from .plan import Frames, ImportPlan, scheduled, to_ev

_SUFFIXES = (".h5", ".hdf5", ".hdf", ".nxs")

_IMAGES = {
    Role.SAMPLE: ("img_xanes", "img"),
    Role.FLAT: ("img_bkg", "img_flat"),
    Role.DARK: ("img_dark",),
}

_ENERGIES = ("X_eng", "XEng", "eng_list")


@dataclass(frozen=True, slots=True, kw_only=True)
class FxiImporter:
    """Reads one HDF5 file.

    The images are (n, H, W), or (n, repeats, H, W), with n a multiple of the number of energies.
    FXI's files average the images of a chunk and hold no exposure time.

    Attributes
    ----------
    exposure : s per image; None: `exposure_time` of the file if there is one.
    period : time between images, s: the file only tells when the scan began.
    sample : name of the sample; None: the name of the file.
    """

    exposure: float | None = None
    period: float = 1.0
    sample: str | None = None

    def claims(self, path: Path) -> bool:
        """Tell whether this is an HDF5 file with img_xanes."""
        if not path.is_file() or path.suffix.lower() not in _SUFFIXES:
            return False
        try:
            with h5py.File(path, "r") as file:
                return "img_xanes" in file
        except OSError:
            return False

    def scan(self, path: Path) -> ImportPlan:
        """List the images.

        Raises
        ------
        ImportDataError
            If the file cannot be read, or lacks the images or the energies.
        """
        try:
            with h5py.File(path, "r") as file:
                energies = _energies(file, path)
                frames = {role: _frames(file, path, names) for role, names in _IMAGES.items()}
                start = _scalar(file, ("scan_time",)) or 0.0
                exposure = self.exposure or _scalar(file, ("exposure_time", "exposure"))
                scan = _scalar(file, ("scan_id",))
                pixel_size = _scalar(file, ("Pixel Size", "pixel_size"))
        except OSError as error:
            raise ImportDataError(f"{path} cannot be read as HDF5: {error}") from error
        if not frames[Role.SAMPLE]:
            raise ImportDataError(f"{path} has no sample images; wanted a dataset img_xanes")
        shots = scheduled(
            frames,
            energies,
            exposures={Role.SAMPLE: exposure, Role.FLAT: exposure, Role.DARK: exposure},
            start=start,
            period=self.period,
        )
        metadata: dict[str, Any] = {}
        if scan is not None:
            metadata["scan_id"] = int(scan)
        if pixel_size is not None:
            metadata["pixel_size"] = pixel_size
        return ImportPlan(
            importer="fxi",
            identity=f"{path.name}:{start}:{len(shots)}:{energies}",
            sample=self.sample or path.stem,
            shots=shots,
            metadata=metadata,
        )


def _first(file: h5py.File, names: Sequence[str]) -> h5py.Dataset | None:
    found = (file.get(name) for name in names)
    return next((item for item in found if isinstance(item, h5py.Dataset)), None)


def _scalar(file: h5py.File, names: Sequence[str]) -> float | None:
    dataset = _first(file, names)
    if dataset is None or dataset.dtype.kind not in "iuf" or dataset.size != 1:
        return None
    value = float(np.asarray(dataset[()]).reshape(-1)[0])
    return value if np.isfinite(value) else None


def _energies(file: h5py.File, path: Path) -> tuple[float, ...]:
    dataset = _first(file, _ENERGIES)
    if dataset is None:
        raise ImportDataError(f"{path} has no energies; wanted a dataset X_eng")
    return to_ev([float(value) for value in np.asarray(dataset[()]).reshape(-1)])


def _frames(file: h5py.File, path: Path, names: Sequence[str]) -> Frames:
    dataset = _first(file, names)
    if dataset is None:
        return []
    if dataset.ndim not in (2, 3, 4):
        raise ImportDataError(
            f"{path}: {dataset.name} should be (n, H, W), got shape {dataset.shape}"
        )
    places = list(np.ndindex(dataset.shape[:-2]))
    return [(path, partial(_read, path, str(dataset.name), place)) for place in places]


def _read(path: Path, name: str, place: tuple[int, ...]) -> NDArray[Any]:
    try:
        with h5py.File(path, "r") as file:
            image = np.asarray(file[name][place])  # type: ignore[index]
    except (OSError, KeyError) as error:
        raise ImportDataError(
            f"{path.name}: {name}{list(place)} cannot be read: {error}"
        ) from error
    return image if image.dtype.kind in "ui" and image.itemsize <= 2 else image.astype(np.float32)
