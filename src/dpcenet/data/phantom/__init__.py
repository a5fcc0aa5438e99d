"""Made abdominal scans with labels, for demonstrations and tests."""
