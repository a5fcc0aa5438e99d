"""Regions found in a scan without labels: body, supervoxels (3-D) and superpixels (2-D)."""
