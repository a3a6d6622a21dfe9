"""Detector without weights: background, regions, contours, score."""
