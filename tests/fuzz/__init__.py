"""Mutated files against every reader: `python -m tests.fuzz MINUTES [TARGET ...]`."""
