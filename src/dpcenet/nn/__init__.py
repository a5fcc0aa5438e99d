"""Blocks that see tensors only: encoders, pooling, similarity, attention, losses."""
