"""One way to reach a Tiled server: settings, key, connection, reads."""
