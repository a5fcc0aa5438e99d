"""GMRD: generating multiple representative descriptors."""
