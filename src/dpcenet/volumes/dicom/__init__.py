"""DICOM: series of slices as volumes, and masks as segmentations (SEG) that refer to them."""
