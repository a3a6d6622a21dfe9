"""Which reader is for which mimetype or spec."""

from __future__ import annotations

from collections.abc import Mapping
from pkgutil import resolve_name

from ..errors import AssetError, ConfigError
from .reader import AssetReader

_HDF5 = "operando.streamer.assets.hdf5:Hdf5Reader"
_TIFF = "operando.streamer.assets.sequences:TiffReader"
_NPY = "operando.streamer.assets.sequences:NpyReader"

ASSET_READERS: dict[str, str] = {
    "application/x-hdf5": _HDF5,
    "AD_HDF5": _HDF5,
    "AD_HDF5_SINGLE": _HDF5,
    "AD_HDF5_SWMR": _HDF5,
    "AD_HDF5_SWMR_SLICE": _HDF5,
    "AD_HDF5_SWMR_STREAM": _HDF5,
    "HDF5": _HDF5,
    "image/tiff": _TIFF,
    "multipart/related;type=image/tiff": _TIFF,
    "AD_TIFF": _TIFF,
    "application/x-npy": _NPY,
    "multipart/related;type=application/x-npy": _NPY,
    "NPY_SEQ": "operando.streamer.assets.sequences:NpySeqReader",
}


def reader_class(kind: str, extra: Mapping[str, str]) -> type[AssetReader]:
    """Reader for a mimetype or spec; `extra` goes before the built-in ones.

    Raises
    ------
    AssetError
        If there is none.
    ConfigError
        If the import string of one leads nowhere.
    """
    name = extra.get(kind) or ASSET_READERS.get(kind)
    if name is None:
        raise AssetError(
            f"no reader for images of kind {kind[:60]!r}; known are "
            f"{', '.join(sorted({*ASSET_READERS, *extra}))}; assets.readers takes others"
        )
    try:
        return resolve_name(name)
    except (ImportError, AttributeError, ValueError) as error:
        raise ConfigError(f"assets.readers: {kind!r} -> {name!r} leads nowhere: {error}") from error
