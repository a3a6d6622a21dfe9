"""Where result documents go: the protocol of a sink, buffering, spool, checkpoints."""
