"""From labelled scans and a query to probabilities: the one way there is."""
