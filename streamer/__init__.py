"""The core (frames, assemble, correct, link, register) and the service around it."""
