"""The command `dpcenet app`: the page in the browser."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dpcenet.cli.app import app
from dpcenet.cli.checks import check_folder
from dpcenet.errors import ConfigError


@app.command("app")
def run_page(
    folder: Annotated[Path, typer.Argument(help="Folder of scans.")] = Path(),
    project: Annotated[
        Path | None, typer.Option(help="Folder of the work; default below ~/dpcenet-projects.")
    ] = None,
    port: Annotated[int | None, typer.Option(min=1, max=65535, help="Default: a free one.")] = None,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    allow_remote: Annotated[
        bool, typer.Option("--allow-remote", help="Let other machines open the page, with --host.")
    ] = False,
    browser: Annotated[bool, typer.Option("--browser/--no-browser", help="Open it.")] = True,
) -> None:
    """Label, segment, review and export on one page in the browser, on this machine."""
    check_folder("", folder)
    try:
        from dpcenet.app.project import default_root
        from dpcenet.app.server import LOOPBACK, serve
    except ImportError as error:
        raise ConfigError(f"dpcenet app: pip install 'dpcenet[app]' ({error.name})") from error
    if host not in LOOPBACK and not allow_remote:
        raise ConfigError(
            f"--host {host}: other machines could open the page, over a line that anyone can read; "
            "add --allow-remote if you mean that"
        )

    def opened(address: str) -> None:
        typer.echo(f"{address}\nThe project lies in {root}. End with Ctrl-C. For research only.")
        if browser:
            typer.launch(address)

    root = project or default_root(folder)
    serve(folder, root, host, port, opened)
