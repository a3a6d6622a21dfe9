"""Tensors in, tensors out: detectors and image kernels. No documents, no I/O but weights."""
