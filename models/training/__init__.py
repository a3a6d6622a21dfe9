"""Training of the networks: tensors in, weights out."""
