"""`dpcenet report`: tables and figures of runs, as one self-contained page and as files.

OUT/report.html     everything
OUT/tables.md, tables.csv, tables.tex    the tables
OUT/figures/*.png   the figures

Every number comes from the runs' scores files; nothing is typed.
"""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import yaml
from matplotlib.figure import Figure

from dpcenet.evaluation.report.figures.lettering import drawing
from dpcenet.evaluation.report.figures.pages import figures_of
from dpcenet.evaluation.report.run_labels import row_names
from dpcenet.evaluation.report.sections import Section, cost_head, cost_table, sections_of
from dpcenet.evaluation.report.summary import in_two_sentences
from dpcenet.evaluation.report.table_formats import (
    TableText,
    as_csv,
    as_latex,
    as_markdown,
    markdown_rows,
    table_text,
)
from dpcenet.evaluation.report.tables import Table, evaluations, table_of, tables_of
from dpcenet.system.files import write_atomically, write_text
from dpcenet.system.templates import render_page
from dpcenet.system.texts import LANGUAGES, in_each_language, legend, words
from dpcenet.training.config import config_to_dict
from dpcenet.training.run_folder import Run

FEW_RUNS = 6  # up to so many runs get a part of their own each


def report(folders: Sequence[Path], out: Path, published: bool = False) -> Path:
    """Write the report.

    Args:
        folders: runs, or folders of `dpcenet benchmark`; what was evaluated is shown.
        out: folder of the page.
        published: also what papers print for these methods, in the files (the page can show it).

    Returns:
        the path of the page.

    Raises:
        RunError: a folder is neither.
    """
    sections = sections_of(folders)
    tables = {section.name: tables_of(section.runs) for section in sections}
    every = [table for of_section in tables.values() for table in of_section]
    page = render_page(
        "report.html",
        texts={language: words(language) for language in LANGUAGES},
        legend=in_each_language(legend),
        cost_head=in_each_language(cost_head),
        summary=[
            in_each_language(partial(in_two_sentences, of_section[0]))
            for of_section in tables.values()
            if of_section
        ],
        sections=[_on_page(section, out) for section in sections],
    )
    write_text(out / "report.html", page)
    write_text(out / "tables.md", "\n".join(_markdown(section, published) for section in sections))
    write_text(out / "tables.csv", as_csv(every))
    write_text(out / "tables.tex", as_latex(every, published))
    return out / "report.html"


def _markdown(section: Section, published: bool) -> str:
    """The tables of a section under the command, commit and machine that made them."""
    facts = [f"{name}: {value}" for name, value in section.facts.items()]
    command = [f"    {section.command}", ""] if section.command else []
    top = [f"## {section.title}", "", *command, "; ".join(facts), ""]
    cost = cost_table(section.runs)
    below = ["", *markdown_rows([cost_head(), *cost]), ""] if cost else []
    return "\n".join([*top, as_markdown(tables_of(section.runs), published), *below])


def _on_page(section: Section, out: Path) -> dict[str, Any]:
    """Everything the template shows of a section; its figures are written on the way."""
    pictures = []
    for name, (caption, figure, lettering) in figures_of(section.runs).items():
        path = out / "figures" / f"{section.name}-{name}.png"
        write_atomically(path, partial(Path.write_bytes, data=_png(figure)))
        drawn = drawing(figure, lettering, str(caption))
        pictures.append({"caption": in_each_language(caption.said), "drawing": drawn})
    few = len(section.runs) <= FEW_RUNS
    return {
        **vars(section),
        "tables": [_table_on_page(table) for table in tables_of(section.runs)],
        "pictures": pictures,
        "cost": cost_table(section.runs),
        "runs": [_run_on_page(run) for run in section.runs] if few else [],
        "configs": {} if few else _configs(section.runs),
    }


def _table_on_page(table: Table) -> dict[str, TableText]:
    """The texts of a table in each language; the numbers are the same."""
    return in_each_language(lambda say: table_text(table, True, say))


def _run_on_page(run: Run) -> dict[str, Any]:
    """What is shown of one run where there are few."""
    return {
        "name": run.folder.name,
        "preset": run.config.preset,
        "tables": [
            _table_on_page(table_of(rules, scores)) for _, scores, rules in evaluations(run)
        ],
        "config": _config(run),
        "facts": {
            **{k: v for k, v in run.facts["flags"].items() if k != "data" and v != []},
            "precision": run.precision,
            "data hash": run.facts.get("data_hash", "")[:12],
            **run.facts.get("versions", {}),
        },
    }


def _configs(runs: Sequence[Run]) -> dict[str, str]:
    """The resolved config of each method."""
    return {
        name: _config(run) for name, run in reversed([*zip(row_names(runs), runs, strict=True)])
    }


def _config(run: Run) -> str:
    """The resolved config as YAML, which knows lists but no tuples."""
    plain = json.loads(json.dumps(config_to_dict(run.config)))
    return yaml.safe_dump(plain, sort_keys=False)


def _png(figure: Figure) -> bytes:
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=100, metadata={"Software": None})
    return stream.getvalue()
