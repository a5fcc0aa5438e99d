"""dpcenet in napari. For research only; not a medical device."""
