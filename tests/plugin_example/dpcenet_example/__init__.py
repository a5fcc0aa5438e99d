"""A method and a data set for dpcenet, from another package."""
