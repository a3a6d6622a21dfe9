"""Detector counts to optical density: dark, flat, exposure, mask of valid pixels."""
