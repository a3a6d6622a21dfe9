"""Documents as bytes: codec, messages, sockets, CURVE keys, the bounded queue."""
