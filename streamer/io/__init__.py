"""Bytes in and out: wire, sources, files, journal, checkpoints, Tiled. No decisions."""
