"""What came out, in two sentences for the top of the report."""

from __future__ import annotations

from dpcenet.evaluation.report.tables import Table
from dpcenet.evaluation.scores import COPY


def in_two_sentences(table: Table) -> str:
    """Which method is best and by how much, and how sure that is.

    Args:
        table: of one data set and protocol. Methods that lack an organ are left out.
    """
    means = {row.name: row.mean.mean for row in table.rows if row.mean is not None}
    if not means:
        return "No method was scored on every organ. Methods cannot be compared."
    best, *others = sorted(means, key=lambda name: -means[name])
    cases = max(row.cases for row in table.rows)
    data = f"On {table.data.dataset}, " if table.data and table.data.dataset else ""
    first = f"{data}{best} has the highest mean Dice: {means[best]:.1f} % over {cases} case"
    first += "s" if cases > 1 else ""
    if best == COPY:
        first += "; it only pastes the support's mask, so no network is of use here"
    elif COPY in others[1:]:
        first += f", {means[best] - means[COPY]:.1f} points above the pasted mask (copy)"
    return f"{first}. {_how_sure(table, means, best, others)}"


def _how_sure(table: Table, means: dict[str, float], best: str, others: list[str]) -> str:
    """The distance to the second, and whether the best is significantly better than all."""
    if not others:
        return "There is no other method to compare with."
    second = f"{others[0]} (the pasted mask)" if others[0] == COPY else others[0]
    lead = f"It is {means[best] - means[others[0]]:.1f} points better than the second, {second}"
    if any(row.mean is not None and row.mean.best for row in table.rows):
        return f"{lead}, and significantly better than every other method."
    return f"{lead}; that is not significant: with these cases it may be chance."
