"""What came out, in two sentences for the top of the report."""

from __future__ import annotations

from dpcenet.evaluation.report.tables import Table
from dpcenet.evaluation.scores import COPY
from dpcenet.system.texts import Words, words


def in_two_sentences(table: Table, say: Words | None = None) -> str:
    """Which method is best and by how much, and how sure that is.

    Args:
        table: of one data set and protocol. Methods that lack an organ are left out.
        say: the texts of a language; English by default.
    """
    say = say or words()
    means = {row.name: row.mean.mean for row in table.rows if row.mean is not None}
    if not means:
        return say["summary.none"]
    best, *others = sorted(means, key=lambda name: -means[name])
    cases = max(row.cases for row in table.rows)
    data = table.data.dataset if table.data else ""
    first = say["summary.data"].format(data=data) if data else ""
    key = "summary.best" if cases > 1 else "summary.best.one"
    first += say[key].format(best=best, dice=f"{means[best]:.1f}", cases=cases)
    if best == COPY:
        first += say["summary.copy"]
    elif COPY in others[1:]:
        first += say["summary.above"].format(points=f"{means[best] - means[COPY]:.1f}")
    return first + say["summary.stop"] + _how_sure(table, means, best, others, say)


def _how_sure(
    table: Table, means: dict[str, float], best: str, others: list[str], say: Words
) -> str:
    """The distance to the second, and whether the best is significantly better than all."""
    if not others:
        return say["summary.alone"]
    second = say["summary.pasted"] if others[0] == COPY else others[0]
    points = f"{means[best] - means[others[0]]:.1f}"
    lead = say["summary.lead"].format(points=points, second=second)
    sure = any(row.mean is not None and row.mean.best for row in table.rows)
    return lead + say["summary.sure" if sure else "summary.unsure"]
