"""Results against the truth of the simulator: errors, identities, pictures."""
