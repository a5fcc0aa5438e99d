"""`dpcenet doctor`: what is wrong with the scans of a folder, and mending it."""
