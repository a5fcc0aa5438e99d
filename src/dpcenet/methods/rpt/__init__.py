"""RPT: region-enhanced prototypical transformer."""
