"""The command `dpcenet cite`."""

from __future__ import annotations

from typing import Annotated

import typer

from dpcenet.cli.app import app
from dpcenet.system.about import citation


@app.command("cite")
def cite_command(
    method: Annotated[
        str | None,
        typer.Argument(help="Such as dpcenet, adnet or rpt; default: only the software."),
    ] = None,
) -> None:
    """Print what to cite: this software, and the paper of a method, as BibTeX."""
    typer.echo(citation(method))
