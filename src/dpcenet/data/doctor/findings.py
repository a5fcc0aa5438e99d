"""The findings of `dpcenet doctor` as a table, and as JSON."""

from __future__ import annotations

import io
import json
import shutil
from dataclasses import asdict

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from dpcenet.data.doctor.doctor import Diagnosis
from dpcenet.data.doctor.examine import CaseReport

_HEADS = ("case", "voxels z·y·x", "spacing mm", "axes", "oblique", "intensity", "labels ml")


def to_json(diagnosis: Diagnosis) -> str:
    """The findings as JSON."""
    data = {"wrong": diagnosis.wrong, "cases": [asdict(report) for report in diagnosis.reports]}
    return json.dumps(data, indent=2)


def as_table(diagnosis: Diagnosis) -> str:
    """The findings as text: a line for each case, then errors and notes."""
    table = Table(box=None, pad_edge=False)
    for head in _HEADS:
        table.add_column(head, overflow="fold")
    table.add_column("", no_wrap=True)
    for report in diagnosis.reports:
        verdict = "wrong" if report.errors else "note" if report.notes else "good"
        table.add_row(*map(escape, _cells(report)), verdict)
    stream = io.StringIO()
    console = Console(file=stream, width=max(100, shutil.get_terminal_size((140, 24)).columns))
    console.print(table)
    lines = [
        f"{report.case}: {kind}: {text}"
        for kind, of in (("wrong", "errors"), ("note", "notes"))
        for report in diagnosis.reports
        for text in getattr(report, of)
    ]
    return "\n".join([stream.getvalue().rstrip(), *lines])


def _cells(report: CaseReport) -> tuple[str, ...]:
    return (
        report.case,
        "·".join(str(n) for n in report.shape),
        " ".join(f"{mm:.4g}" for mm in report.spacing),
        report.orientation,
        f"{report.oblique_deg:.1f}°" if report.shape else "",
        "…".join(f"{value:g}" for value in report.intensity),
        " ".join(f"{value}:{ml:.4g}" for value, ml in report.label_ml.items()),
    )
