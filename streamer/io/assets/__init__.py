"""Readers of pixels that documents point to: HDF5 (SWMR), TIFF, NPY. All file I/O of frames."""

from .reader import ASSET_READERS, AssetReader, Gate
from .settings import AssetSettings, PathPrefix
from .store import AssetStore

__all__ = ["ASSET_READERS", "AssetReader", "AssetSettings", "AssetStore", "Gate", "PathPrefix"]
