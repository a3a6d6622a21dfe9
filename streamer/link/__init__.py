"""Detections to particles: identities over frames."""
