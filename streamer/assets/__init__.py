"""Readers of pixels that documents point to: HDF5 (SWMR), TIFF, NPY. All file I/O of frames."""
