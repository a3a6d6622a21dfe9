"""Documents to frame references: which image, of what, at which energy. No I/O."""
