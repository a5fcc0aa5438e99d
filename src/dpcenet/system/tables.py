"""Tables for spreadsheets."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence


def table_text(headings: Sequence[str], rows: Iterable[Mapping[str, object]]) -> str:
    """A table as CSV; a cell that a row lacks is empty, and none is run as a formula.

    Args:
        headings: of the columns, in order.
        rows: heading → cell.
    """
    stream = io.StringIO()
    writer = csv.DictWriter(stream, headings, restval="", lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow({heading: as_text(cell) for heading, cell in row.items()})
    return stream.getvalue()


def as_text(cell: object) -> object:
    """A cell that a spreadsheet shows, and never runs as a formula; numbers stay as they are."""
    risky = isinstance(cell, str) and cell.startswith(("=", "+", "-", "@", "\t", "\r"))
    return f"'{cell}" if risky else cell
