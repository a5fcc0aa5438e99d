"""Tables for spreadsheets."""

from __future__ import annotations


def as_text(cell: object) -> object:
    """A cell that a spreadsheet shows, and never runs as a formula; numbers stay as they are."""
    risky = isinstance(cell, str) and cell.startswith(("=", "+", "-", "@", "\t", "\r"))
    return f"'{cell}" if risky else cell
