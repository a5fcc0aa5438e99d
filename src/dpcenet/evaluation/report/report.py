"""`dpcenet report`: tables and figures of runs, as one self-contained page and as files.

OUT/report.html     everything
OUT/tables.md, tables.csv, tables.tex    the tables
OUT/figures/*.png   the figures

Every number comes from the runs' scores files; nothing is typed.
"""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from importlib import resources
from pathlib import Path
from typing import Any

import jinja2
import yaml
from matplotlib.figure import Figure

from dpcenet.evaluation.report.figures.pages import figures_of
from dpcenet.evaluation.report.run_labels import row_names
from dpcenet.evaluation.report.sections import Section, cost_table, sections_of
from dpcenet.evaluation.report.table_formats import (
    as_csv,
    as_latex,
    as_markdown,
    caption,
    head,
    lines,
    notes,
)
from dpcenet.evaluation.report.tables import Table, evaluations, table_of, tables_of
from dpcenet.system.files import write_atomically, write_text
from dpcenet.training.config import config_to_dict
from dpcenet.training.run_folder import Run

FEW = 6  # runs of which each gets a section of its own


@dataclass(frozen=True)
class Picture:
    """A figure as the page shows it."""

    caption: str
    data: str


def report(folders: Sequence[Path], out: Path, published: bool = False) -> Path:
    """Write the report.

    Args:
        folders: runs, or folders of `dpcenet benchmark`; what was evaluated is shown.
        out: folder of the page.
        published: also what is in print for these methods, in the files (the page can show it).

    Returns:
        the path of the page.

    Raises:
        RunError: a folder is neither.
    """
    sections = sections_of(folders)
    tables = [table for section in sections for table in tables_of(section.runs)]
    page = [_section(section, out) for section in sections]
    template = (resources.files("dpcenet") / "assets" / "templates" / "report.html").read_text(
        "utf-8"
    )
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined)
    write_text(out / "report.html", environment.from_string(template).render(sections=page))
    write_text(out / "tables.md", "\n".join(_markdown(section, published) for section in sections))
    write_text(out / "tables.csv", as_csv(tables))
    write_text(out / "tables.tex", as_latex(tables, published))
    return out / "report.html"


def _markdown(section: Section, published: bool) -> str:
    """The tables of a section under the command, commit and machine that made them."""
    facts = [f"{name}: {value}" for name, value in section.facts.items()]
    command = [f"    {section.command}", ""] if section.command else []
    top = [f"## {section.title}", "", *command, "; ".join(facts), ""]
    cost = cost_table(section.runs)
    below = ["", *(f"| {' | '.join(row)} |" for row in _ruled(cost)), ""] if cost else []
    return "\n".join([*top, as_markdown(tables_of(section.runs), published), *below])


def _ruled(rows: Sequence[Sequence[str]]) -> list[Sequence[str]]:
    return [rows[0], ["---"] * len(rows[0]), *rows[1:]]


def _section(section: Section, out: Path) -> dict[str, Any]:
    """Everything the template shows of a section."""
    pictures = []
    for name, (text, figure) in figures_of(section.runs).items():
        png = _png(figure)
        write_atomically(
            out / "figures" / f"{section.name}-{name}.png", partial(Path.write_bytes, data=png)
        )
        pictures.append(Picture(text, "data:image/png;base64," + base64.b64encode(png).decode()))
    return {
        "title": section.title,
        "command": section.command,
        "facts": section.facts,
        "tables": [html_table(table) for table in tables_of(section.runs)],
        "pictures": pictures,
        "cost": cost_table(section.runs),
        "missing": section.missing,
        "runs": [_describe(run) for run in section.runs] if len(section.runs) <= FEW else [],
        "configs": {} if len(section.runs) <= FEW else _configs(section.runs),
    }


def html_table(table: Table) -> dict[str, Any]:
    """What the template shows of a table."""
    return {
        "caption": caption(table),
        "head": head(table),
        "lines": lines(table, published=True),
        "notes": notes(table, published=True),
    }


def _describe(run: Run) -> dict[str, Any]:
    """What is shown of one run where there are few."""
    return {
        "name": run.folder.name,
        "preset": run.config.preset,
        "tables": [html_table(table_of(rules, scores)) for _, scores, rules in evaluations(run)],
        "config": yaml.safe_dump(_plain(config_to_dict(run.config)), sort_keys=False),
        "facts": {
            **{k: v for k, v in run.facts["flags"].items() if k != "data"},
            "precision": run.precision,
            "data hash": run.facts["data_hash"][:12],
            **run.facts["versions"],
        },
    }


def _configs(runs: Sequence[Run]) -> dict[str, str]:
    """The resolved config of each method."""
    return {
        name: yaml.safe_dump(_plain(config_to_dict(run.config)), sort_keys=False)
        for name, run in reversed([*zip(row_names(runs), runs, strict=True)])
    }


def _plain(value: Any) -> Any:
    """Tuples as lists, for YAML."""
    plain: Any = json.loads(json.dumps(value))
    return plain


def _png(figure: Figure) -> bytes:
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=100, metadata={"Software": None})
    return stream.getvalue()
