"""One frame through detection, linking and registration; the second pass over a scan."""
