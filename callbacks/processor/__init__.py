"""The `StreamProcessor`: raw documents in, result documents out."""
