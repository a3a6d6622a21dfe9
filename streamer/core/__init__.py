"""The science, pure: ``(state, input) -> (state, output)``. No I/O, clock, thread or log."""
