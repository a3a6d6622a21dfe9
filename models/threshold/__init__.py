"""The detector without weights: scene, background, regions, contours."""
