"""Scores against the truth, and what is made of them: tables, figures, benchmarks."""
