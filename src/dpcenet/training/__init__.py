"""Configs, runs and the loops that train; everything a training step needs."""
