"""`dpcenet app`: the whole loop on one page in the browser, on this machine."""
