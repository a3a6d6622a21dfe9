"""Recordings out of data that people already have: .xrm folders, TIFF stacks, FXI HDF5."""
