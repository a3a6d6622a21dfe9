"""Everything that is called with ``(name, doc)``. Importing this package never imports torch."""
