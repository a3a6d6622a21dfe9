"""Result documents to a Tiled server, and back out of it."""
