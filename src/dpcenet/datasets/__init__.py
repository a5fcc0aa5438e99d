"""Data sets: what they hold, how they are stored, split and pseudo-labelled."""
