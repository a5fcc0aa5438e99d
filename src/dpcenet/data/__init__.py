"""From a data set as it was downloaded to prepared arrays, and made-up data of two kinds."""
