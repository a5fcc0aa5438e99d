"""The application, and the options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from dpcenet.errors import ConfigError

app = typer.Typer(
    help="Few-shot medical image segmentation: label one scan, segment the rest. "
    "For research only; not a medical device.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


DATASET_HELP = (
    "chaost2, sabs, cmr, acdc, nnunet, msd, lineage, chaost2-lineage, sabs-lineage, cmr-lineage, "
    "or folder."
)
Device = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, …")]
InPrecision = Annotated[
    Literal["auto", "float32", "bfloat16"],
    typer.Option("--precision", help="auto: the faster one, measured here."),
]
OnEngine = Annotated[
    Literal["local", "ray"], typer.Option(help="local: this machine; ray: a Ray cluster.")
]
Address = Annotated[
    str | None, typer.Option(help="Address of the Ray cluster; default: one on this machine.")
]
Out = Annotated[Path, typer.Option(help="Output folder.")]


def _version(asked: bool) -> None:
    if asked:
        from dpcenet.system.about import versions_text

        typer.echo(versions_text())
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool,
        typer.Option(
            "--version",
            callback=_version,
            is_eager=True,
            help="Versions, device, hash of the weights.",
        ),
    ] = False,
) -> None:
    """Common options."""


def parse_label_name(text: str, flag: str = "--label") -> tuple[int, str]:
    """(1, "liver") from "1=liver".

    Raises:
        ConfigError: it is not of this form; the message names the flag.
    """
    value, separator, name = text.partition("=")
    if not separator or not value.isdecimal() or not name:
        raise ConfigError(f"{flag} {text}: write it as VALUE=NAME, such as 1=liver")
    return int(value), name
