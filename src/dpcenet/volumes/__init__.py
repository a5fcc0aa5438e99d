"""Scans and masks on disk and in the patient: read, orient, preprocess, restore, write."""
