"""Document streams on disk: write, read in any dialect, play back."""
