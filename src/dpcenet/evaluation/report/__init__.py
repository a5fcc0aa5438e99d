"""Tables and figures from the scores of runs."""
