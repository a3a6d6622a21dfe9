"""A transmission X-ray microscope with a charging, deforming electrode, and its truth."""
