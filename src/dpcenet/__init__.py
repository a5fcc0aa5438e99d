"""Few-shot medical image segmentation: label one scan, segment the rest."""

__version__ = "0.1.0"
