"""Measured speed and accuracy: ``operando bench``."""
