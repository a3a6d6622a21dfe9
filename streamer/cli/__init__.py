"""The command line: ``operando``."""
