"""Sinks of result documents: the protocol of a sink, buffering, spool, checkpoints."""
