"""Accuracy against the truth of simulated scans: ``operando bench accuracy``."""
