"""`dpcenet benchmark`: a plan becomes runs, and the runs become tables."""
