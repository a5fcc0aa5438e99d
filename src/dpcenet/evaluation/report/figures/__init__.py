"""Figures of runs: slices with masks, plots of scores, and DPCENet's attention."""
