"""Commands that hand over to other software."""

from __future__ import annotations

import typer

from dpcenet.cli.app import app

export_app = typer.Typer(help="Hand over to other software.", no_args_is_help=True)
app.add_typer(export_app, name="export")
