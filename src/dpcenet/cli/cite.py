"""The command `dpcenet cite`."""

from __future__ import annotations

from typing import Annotated

import typer

from dpcenet.cli.app import app
from dpcenet.errors import ConfigError
from dpcenet.system.about import SOFTWARE, bibtex


@app.command("cite")
def cite_command(
    name: Annotated[
        str | None,
        typer.Argument(
            metavar="[METHOD | DATASET]",
            help="Such as dpcenet, rpt or chaost2, also of another package; default: the software.",
        ),
    ] = None,
) -> None:
    """Print what to cite: this software, and the paper of a method or data set."""
    work = _work(name) if name else ""
    typer.echo("\n\n".join(filter(None, (bibtex(), work))))


def _work(name: str) -> str:
    """The paper of a method or data set, here or in another package; empty where it has none.

    Raises:
        ConfigError: there is no method or data set of that name, or its package cannot be loaded.
    """
    if name != SOFTWARE and (paper := bibtex(name)):  # quick: nothing else is imported
        return paper
    from dpcenet.data.datasets import registry as datasets
    from dpcenet.methods import registry as methods
    from dpcenet.system import plugins

    known = {
        *methods.METHODS, *datasets.DATASETS,
        *plugins.offered(plugins.METHODS), *plugins.offered(plugins.DATASETS),
    }  # fmt: skip
    if name not in known:
        raise ConfigError(
            f"{name}: no such method or data set; known are {', '.join(sorted(known))}"
        )
    if name in methods.METHODS or name in plugins.offered(plugins.METHODS):
        return methods.method_entry(name).citation
    return datasets.dataset_spec(name).citation
